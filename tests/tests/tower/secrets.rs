//! Tests that responses contain no token and no internal details, and that logs contain no token.

use std::sync::Arc;
use std::time::SystemTime;

use ati_client::{RateLimiter, RateStore, RateWindow};
use atlasent::error::{Code, Failure};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Decision, Error};
use atlasent_tests::capture;
use atlasent_tests::cases::{ACTION, AGENT, TOKEN};
use atlasent_tower::{AtiLayer, ProtectLayer, Refusal, RequestTarget};
use tower::Layer;

use crate::agents::{agent, any_token, bearing, request, token, verifier};
use crate::answer::{Answer, send};
use crate::inner::Inner;
use crate::ways::{PATH, boxed, fixed, ways};

/// An internal detail that an error text may contain.
const DETAIL: &str = "postgres://svc:hunter2@db.internal/permits";

/// An authority that repeats the token in all its texts.
#[derive(Clone)]
struct Careless {
    decision: Decision,
    verification: Result<Verification, Code>,
}

impl Authority for Careless {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        let mut evaluation = Evaluation::new(self.decision);
        evaluation.permit_token = Some(PermitToken::new(TOKEN)?);
        evaluation.reason = Some(format!("about {TOKEN}: no"));
        evaluation.code = Some(TOKEN.into());
        evaluation.decision_id = Some(TOKEN.into());
        Ok(evaluation)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let token = request.permit_token.expose();
        let failed = |code| Failure::new(code, format!("{DETAIL}: no permit {token}")).into();
        self.verification.clone().map_err(failed)
    }
}

fn careless() -> Vec<Careless> {
    let refused = |change: fn(&mut Verification)| {
        let mut verification = Verification::valid();
        change(&mut verification);
        Ok(verification)
    };
    let mut careless = vec![
        refused(|_| {}),
        refused(|v| v.valid = false),
        refused(|v| v.outcome = Some(TOKEN.into())),
        refused(|v| v.verify_error_code = Some(format!("no {TOKEN}"))),
        refused(|v| v.actor_id = Some(TOKEN.into())),
        Err(Code::ServerError),
        Err(Code::Forbidden),
    ]
    .into_iter()
    .map(|verification| Careless {
        decision: Decision::Allow,
        verification,
    })
    .collect::<Vec<_>>();
    for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
        let verification = Ok(Verification::valid());
        careless.push(Careless {
            decision,
            verification,
        });
    }
    careless
}

/// Returns all that a caller receives, as text.
fn told(answer: &Answer) -> String {
    format!(
        "{:?} {:?}",
        answer.headers,
        String::from_utf8_lossy(&answer.body)
    )
}

/// Returns the parts of an ATI token. No part may be sent.
fn parts(token: &str) -> impl Iterator<Item = &str> {
    token.split('.').skip(1)
}

#[test]
fn whatever_an_authority_says_no_token_is_told() {
    for way in ways::<Careless>() {
        for authority in careless() {
            let request = (way.request)();
            let bearer = request.headers()["authorization"]
                .to_str()
                .unwrap()
                .to_owned();
            let service = (way.around)(Arc::new(authority), Inner::new());
            let (answer, seen) = capture(|| send(service, request));
            let told = told(&answer);
            assert!(!seen.is_empty());
            let traced = format!("{seen:?}");
            for secret in parts(&bearer).chain([TOKEN]) {
                assert!(!told.contains(secret), "{}: {secret} in {told}", way.name);
                assert!(
                    !traced.contains(secret),
                    "{}: {secret} in {traced}",
                    way.name
                );
            }
            assert!(!told.contains("hunter2"), "{}: {told}", way.name);
        }
    }
}

#[test]
fn a_token_that_is_refused_is_not_repeated() {
    let expired = token(agent().issued_at(1_000).expires_at(2_000));
    let long = format!("a.b.{}", "secret".repeat(2_000));
    let layers = [
        AtiLayer::new(verifier()),
        AtiLayer::new(verifier()).optional(),
        AtiLayer::new(verifier()).scope("tool:x"),
    ];
    for layer in layers {
        for bad in [
            &expired,
            &long,
            &format!("{}=", any_token()),
            &format!("{} x", any_token()),
        ] {
            let service = layer.layer(Inner::new());
            let (answer, seen) = capture(|| send(service, bearing(PATH, bad)));
            assert_eq!(answer.status, 401);
            let (told, traced) = (told(&answer), format!("{seen:?}"));
            for secret in parts(bad).filter(|part| part.len() > 3).chain(["secret"]) {
                assert!(!told.contains(secret), "{secret} in {told}");
                assert!(!traced.contains(secret), "{secret} in {traced}");
            }
        }
    }
}

/// A rate store that fails.
struct Down;

impl RateStore for Down {
    async fn count_call(
        &self,
        _: &[RateWindow<'_>],
        _: SystemTime,
    ) -> Result<(), ati_client::Error> {
        Err(ati_client::Error::RateStoreFailed {
            reason: DETAIL.into(),
        })
    }
}

#[test]
fn our_own_details_are_for_the_log_and_not_for_the_caller() {
    let failing = Careless {
        decision: Decision::Allow,
        verification: Err(Code::Network),
    };
    let protect = |target: RequestTarget| ProtectLayer::new(failing.clone(), target);
    let counted = token(agent().scope("*").rate("*", "1/day".parse().unwrap()));
    let down = AtiLayer::new(verifier()).rates(RateLimiter::with_store(Down));
    let ours = || Refusal::misconfigured(DETAIL);
    let invalid = || Refusal::from(Error::Invalid(DETAIL.into()));
    for (service, request, status) in [
        (
            boxed(protect(fixed()).layer(Inner::new())),
            request(PATH),
            503,
        ),
        (
            boxed(down.layer(Inner::new())),
            bearing(PATH, &counted),
            503,
        ),
        (
            boxed(protect(fixed().resource(move |_| Err(ours()))).layer(Inner::new())),
            request(PATH),
            500,
        ),
        (
            boxed(protect(fixed().context(move |_| Err(invalid()))).layer(Inner::new())),
            request(PATH),
            500,
        ),
        (
            boxed(
                AtiLayer::new(verifier())
                    .scope_from(move |_| Err(ours()))
                    .layer(Inner::new()),
            ),
            bearing(PATH, any_token()),
            500,
        ),
    ] {
        let (answer, seen) = capture(|| send(service, request));
        answer.expect_refusal(status, "", "ours");
        let members = answer.problem();
        assert_eq!(members.as_object().unwrap().len(), 3, "{members}");
        assert!(!told(&answer).contains("hunter2"), "{}", told(&answer));
        // The operator needs it in the log.
        let logged = seen.iter().filter(|seen| seen.name == "request refused");
        let logged: Vec<_> = logged.filter_map(|seen| seen.field("error")).collect();
        assert_eq!(logged.len(), 1, "{seen:?}");
        assert!(logged[0].contains("hunter2"), "{logged:?}");
    }
}

#[test]
fn layers_and_services_print_no_secret() {
    let ati = AtiLayer::new(verifier()).scope("tool:x");
    let protect = ProtectLayer::new(
        careless().remove(0),
        RequestTarget::action(ACTION).agent(AGENT),
    );
    let service = (ati.clone(), protect.clone()).layer(Inner::new());
    let printed = format!("{ati:?} {protect:?} {service:?}");
    assert!(
        !printed.contains("secret") && !printed.contains(TOKEN),
        "{printed}"
    );
}
