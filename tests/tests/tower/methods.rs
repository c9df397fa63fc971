//! Tests `ProtectedMethods` and its guards: each method requires what it declares.

use std::sync::Arc;

use ati_client::{Claims, RateSpec, RateUnit};
use atlasent::Action;
use atlasent::testing::MockAuthority;
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{
    Access, AtiLayer, Authentication, PermitSlot, ProtectLayer, ProtectedMethods, Refusal,
    RequestTarget, Respond, RouteGuard,
};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tower::Layer;

use crate::agents::{agent, any_token, bearing, request, token, verifier};
use crate::answer::{Answer, send};
use crate::inner::{Body, Inner};
use crate::ways::{fixed, typed};

/// The result of a request: the response, the number of evaluations, and the number of calls of the
/// inner service.
struct Outcome {
    answer: Answer,
    asked: usize,
    inner: Inner,
}

impl Outcome {
    fn expect_refusal(&self, status: u16, detail: &str) {
        self.answer.expect_refusal(status, detail, detail);
        assert_eq!((self.asked, self.inner.count()), (0, 0), "{detail}");
    }
}

fn call(
    methods: impl FnOnce(ProtectedMethods) -> ProtectedMethods,
    request: Request<Body>,
) -> Outcome {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let inner = Inner::new();
    let layer = methods(ProtectedMethods::new(Arc::clone(&authority)));
    let answer = send(layer.layer(inner.clone()), request);
    Outcome {
        answer,
        asked: authority.calls().len(),
        inner,
    }
}

fn ati() -> AtiLayer {
    AtiLayer::new(verifier())
}

const PATH: &str = "/a.B/C";

#[test]
fn a_method_of_an_action_is_called_with_a_permit_in_whatever_order_things_are_said() {
    type Said = fn(ProtectedMethods) -> ProtectedMethods;
    let orders: [Said; 3] = [
        |methods| {
            methods
                .authenticate(ati())
                .method("a.B/C", Access::action(ACTION))
        },
        |methods| {
            methods
                .method("a.B/C", Access::action(ACTION))
                .authenticate(ati())
        },
        |methods| {
            methods
                .method("/a.B/C", Access::action(ACTION))
                .authenticate(ati())
        },
    ];
    for methods in orders {
        let outcome = call(methods, bearing(PATH, any_token()));
        assert_eq!((outcome.answer.status.as_u16(), outcome.asked), (200, 2));
        let permit = outcome.inner.seen()[0]
            .extensions
            .get::<PermitSlot>()
            .unwrap()
            .take();
        assert_eq!(permit.unwrap().agent().as_str(), AGENT);
        call(methods, request(PATH)).expect_refusal(401, "has no token");
    }
}

#[test]
fn a_public_method_is_called_whoever_asks() {
    let public = |methods: ProtectedMethods| {
        methods
            .authenticate(ati())
            .method("a.B/C", Access::public())
    };
    for request in [
        request(PATH),
        bearing(PATH, any_token()),
        bearing(PATH, "not.a.token"),
    ] {
        let outcome = call(public, request);
        assert_eq!((outcome.answer.status.as_u16(), outcome.asked), (200, 0));
        let parts = &outcome.inner.seen()[0];
        assert!(parts.extensions.get::<PermitSlot>().is_none());
        assert!(parts.extensions.get::<Claims>().is_none());
    }
}

#[test]
fn a_method_that_is_declared_twice_is_refused_whatever_is_declared() {
    let target = || Access::target(fixed());
    for (first, second) in [
        (Access::public(), target()),
        (target(), Access::public()),
        (Access::public(), Access::public()),
        (
            Access::action(ACTION),
            Access::action(ACTION).scope("tool:x"),
        ),
    ] {
        let twice = |methods: ProtectedMethods| {
            let methods = methods.authenticate(ati());
            methods
                .method("/a.B/C", first.clone())
                .method("a.B/C", second.clone())
        };
        let layer = twice(ProtectedMethods::new(MockAuthority::new()));
        assert_eq!(layer.table().len(), 2);
        call(twice, bearing(PATH, any_token())).expect_refusal(500, "cannot authorize requests");
    }
    // The other methods are not affected.
    let others = |methods: ProtectedMethods| {
        let methods = methods.method("a.B/X", target()).method("a.B/X", target());
        methods.method("a.B/C", target())
    };
    assert_eq!(call(others, request(PATH)).answer.status, 200);
}

#[test]
fn every_scope_of_an_access_is_required_and_each_rate_is_counted_once() {
    let access = || Access::action(ACTION).scope("tool:x").scope("audit");
    let scopes =
        |access: &Access| -> Vec<String> { access.required_scopes().map(str::to_owned).collect() };
    assert_eq!(scopes(&access()), ["tool:x", "audit"]);
    let methods = |methods: ProtectedMethods| {
        let layer = ati().scope("tool:base");
        methods.method("a.B/C", access()).authenticate(layer)
    };
    let all = ["tool:base", "tool:x", "audit"];
    for missing in all {
        let rest = all.into_iter().filter(|scope| *scope != missing);
        let some = bearing(PATH, &token(agent().scopes(rest)));
        call(methods, some).expect_refusal(403, &format!("`{missing}`"));
    }
    let once = RateSpec::new(1, RateUnit::Day);
    for pattern in ["tool:base", "tool:x", "audit", "tool:*", "*"] {
        let token = token(agent().scopes(all).rate(pattern, once));
        let layer = methods(ProtectedMethods::new(MockAuthority::new().allow(ACTION)));
        let service = layer.layer(Inner::new());
        let status = || send(service.clone(), bearing(PATH, &token)).status.as_u16();
        assert_eq!([status(), status()], [200, 429], "{pattern}");
    }
    let table = methods(ProtectedMethods::new(MockAuthority::new())).table();
    assert!(table.to_string().ends_with("tool:x audit\n"), "{table}");
}

#[test]
fn a_request_has_to_pass_every_layer_that_authenticates() {
    let of = |scope: &'static str| ati().scope(scope);
    let both = |methods: ProtectedMethods| {
        let methods = methods
            .authenticate(of("tool:a"))
            .authenticate(of("tool:b"));
        methods.method("a.B/C", Access::action(ACTION).scope("tool:c"))
    };
    let all = ["tool:a", "tool:b", "tool:c"];
    for missing in all {
        let rest = all.into_iter().filter(|scope| *scope != missing);
        let some = bearing(PATH, &token(agent().scopes(rest)));
        call(both, some).expect_refusal(403, &format!("`{missing}`"));
    }
    let outcome = call(both, bearing(PATH, &token(agent().scopes(all))));
    assert_eq!(outcome.answer.status, 200);
    call(both, request(PATH)).expect_refusal(401, "has no token");
    // An optional layer does not weaken the other layer.
    let optional = |methods: ProtectedMethods| {
        let methods = methods.authenticate(ati()).authenticate(ati().optional());
        methods.method("a.B/C", Access::target(fixed()))
    };
    call(optional, request(PATH)).expect_refusal(401, "has no token");
}

#[test]
fn a_permit_of_an_outer_layer_is_not_to_be_had_below_a_guard() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION).allow("outer"));
    let outer = RequestTarget::action("outer").agent(AGENT);
    let outer = ProtectLayer::new(Arc::clone(&authority), outer);
    for (access, own) in [
        (Access::public(), None),
        (Access::in_handler(ACTION), None),
        (Access::target(typed()), None),
        (Access::action(ACTION), Some(ACTION)),
    ] {
        let methods = ProtectedMethods::new(Arc::clone(&authority));
        let methods = methods.authenticate(ati()).method("a.B/C", access);
        let inner = Inner::new();
        let service = (outer.clone(), methods).layer(inner.clone());
        assert_eq!(send(service, bearing(PATH, any_token())).status, 200);
        let slot = inner.seen()[0].extensions.get::<PermitSlot>().cloned();
        let permit = slot.and_then(|slot| slot.take());
        let action = permit.as_ref().map(|permit| permit.action().name());
        assert_eq!(action, own);
    }
}

#[test]
fn a_scope_is_required_before_anybody_is_asked() {
    for access in [
        Access::action(ACTION),
        Access::in_handler(ACTION),
        Access::target(fixed()),
    ] {
        let access = access.scope("tool:x");
        let methods = |access: &Access| {
            let access = access.clone();
            move |methods: ProtectedMethods| methods.authenticate(ati()).method("a.B/C", access)
        };
        let other = bearing(PATH, &token(agent().scope("tool:y")));
        call(methods(&access), other).expect_refusal(403, "`tool:x`");
        call(methods(&access), request(PATH)).expect_refusal(401, "has no token");
        let outcome = call(
            methods(&access),
            bearing(PATH, &token(agent().scope("tool:x"))),
        );
        assert_eq!(
            (outcome.answer.status.as_u16(), outcome.inner.count()),
            (200, 1)
        );
    }
}

#[test]
fn a_scope_that_nothing_checks_is_not_granted() {
    let methods = |methods: ProtectedMethods| {
        methods.method("a.B/C", Access::target(fixed()).scope("tool:x"))
    };
    for request in [request(PATH), bearing(PATH, any_token())] {
        call(methods, request).expect_refusal(500, "cannot authorize requests");
    }
}

#[test]
fn a_scope_is_required_even_where_no_permit_is() {
    let methods = |methods: ProtectedMethods| {
        let access = Access::public().scope("tool:x");
        methods.authenticate(ati()).method("a.B/C", access)
    };
    call(methods, request(PATH)).expect_refusal(401, "has no token");
    let other = bearing(PATH, &token(agent().scope("tool:y")));
    call(methods, other).expect_refusal(403, "`tool:x`");
    let outcome = call(methods, bearing(PATH, &token(agent().scope("tool:x"))));
    assert_eq!((outcome.answer.status.as_u16(), outcome.asked), (200, 0));
}

#[test]
fn a_scope_of_the_layer_is_required_beside_that_of_the_method() {
    let methods = |methods: ProtectedMethods| {
        let access = Access::action(ACTION).scope("tool:x");
        let layer = ati().scope("tool:base");
        methods.authenticate(layer).method("a.B/C", access)
    };
    let both = token(agent().scope("tool:base").scope("tool:x"));
    assert_eq!(call(methods, bearing(PATH, &both)).answer.status, 200);
    let one = bearing(PATH, &token(agent().scope("tool:x")));
    call(methods, one).expect_refusal(403, "`tool:base`");
}

#[test]
fn rates_are_counted_for_the_scope_of_the_method() {
    let layer = ProtectedMethods::new(MockAuthority::new().allow(ACTION))
        .authenticate(ati())
        .method("a.B/C", Access::action(ACTION).scope("tool:c"))
        .method("a.B/D", Access::action(ACTION).scope("tool:d"));
    let service = layer.layer(Inner::new());
    let once = RateSpec::new(1, RateUnit::Hour);
    let token = token(agent().scope("*").rate("tool:c", once).rate("tool:d", once));
    let status = |path| send(service.clone(), bearing(path, &token)).status.as_u16();
    assert_eq!([status("/a.B/C"), status("/a.B/C")], [200, 429]);
    assert_eq!([status("/a.B/D"), status("/a.B/D")], [200, 429]);
}

#[test]
fn a_handler_that_asks_by_itself_is_called_with_the_claims_of_a_token() {
    let methods = |methods: ProtectedMethods| {
        methods
            .authenticate(ati())
            .method("a.B/C", Access::in_handler(ACTION))
    };
    let outcome = call(methods, bearing(PATH, any_token()));
    assert_eq!((outcome.answer.status.as_u16(), outcome.asked), (200, 0));
    let parts = &outcome.inner.seen()[0];
    assert_eq!(parts.extensions.get::<Claims>().unwrap().sub(), AGENT);
    call(methods, request(PATH)).expect_refusal(401, "has no token");
    call(methods, bearing(PATH, "x")).expect_refusal(401, "malformed");
}

#[test]
fn a_handler_that_asks_by_itself_is_not_called_for_nobody() {
    let optional = |methods: ProtectedMethods| {
        methods
            .authenticate(ati().optional())
            .method("a.B/C", Access::in_handler(ACTION))
    };
    call(optional, request(PATH)).expect_refusal(401, "has no token");
}

#[test]
fn a_handler_that_asks_by_itself_is_not_called_where_nothing_finds_out_who_calls() {
    let nothing = |methods: ProtectedMethods| methods.method("a.B/C", Access::in_handler(ACTION));
    call(nothing, bearing(PATH, any_token())).expect_refusal(500, "cannot authorize requests");
}

#[test]
fn without_an_ati_layer_of_its_own_the_one_outside_counts() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let methods = ProtectedMethods::new(authority).method("a.B/C", Access::action(ACTION));
    let inner = Inner::new();
    let service = (ati().optional(), methods.clone()).layer(inner.clone());
    assert_eq!(
        send(service.clone(), bearing(PATH, any_token())).status,
        200
    );
    send(service, request(PATH)).expect_refusal(401, "has no token", "optional outside");
    let answer = send(methods.layer(inner.clone()), bearing(PATH, any_token()));
    answer.expect_refusal(500, "cannot authorize requests", "nothing outside");
    assert_eq!(inner.count(), 1);
}

#[test]
fn a_guard_does_by_hand_what_the_layer_does() {
    let authentication = Authentication::from(ati());
    let authority = MockAuthority::new().allow(ACTION);
    let pass = |access: Access, request: Request<Body>| {
        let guard = RouteGuard::new(Some(&authentication), access);
        let (mut parts, _) = request.into_parts();
        let passed = futures_executor::block_on(guard.authorize(&authority, &mut parts));
        (
            passed
                .map(|execution| execution.is_some())
                .map_err(|refusal| refusal.status()),
            parts,
        )
    };
    let (passed, parts) = pass(Access::action(ACTION), bearing(PATH, any_token()));
    assert_eq!(passed, Ok(true));
    assert!(parts.extensions.get::<PermitSlot>().is_some());
    assert_eq!(pass(Access::public(), request(PATH)).0, Ok(false));
    assert_eq!(
        pass(Access::in_handler(ACTION), bearing(PATH, any_token())).0,
        Ok(false)
    );
    let (passed, parts) = pass(Access::action("other"), bearing(PATH, any_token()));
    assert_eq!(passed, Err(StatusCode::FORBIDDEN));
    assert!(parts.extensions.get::<PermitSlot>().is_none());
}

struct Teapot;

impl Respond for Teapot {
    fn respond(&self, refusal: &Refusal, _: &Parts) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(refusal.status().to_string()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    }
}

#[test]
fn refusals_of_all_kinds_can_be_put_in_another_way() {
    let methods = |methods: ProtectedMethods| {
        methods
            .respond_with(Teapot)
            .authenticate(ati())
            .method("a.B/C", Access::action(ACTION))
            .method("a.B/D", Access::action("other"))
    };
    for (request, told) in [
        (request("/a.B/C"), "401 Unauthorized"),
        (request("/a.B/X"), "404 Not Found"),
        (request("/a.B//C"), "400 Bad Request"),
        (bearing("/a.B/D", any_token()), "403 Forbidden"),
    ] {
        let outcome = call(methods, request);
        assert_eq!(
            (outcome.answer.status.as_u16(), outcome.inner.count()),
            (418, 0)
        );
        assert_eq!(outcome.answer.body, told);
    }
}
