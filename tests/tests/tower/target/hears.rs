//! Tests that the authority receives all that the target adds, and nothing else.

use std::net::SocketAddr;

use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Action, AnyAction, Context, Error};
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{PermitRequest, Refusal, RequestTarget};
use http::request::Parts;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::{ask, ask_with_token, expect_refusal};
use crate::agents::{any_token, bearing, request};
use crate::ways::{PATH, fixed};

/// Returns the evaluation request as JSON, as it is sent.
fn on_the_wire(heard: Option<EvaluateRequest>) -> Value {
    serde_json::to_value(heard.unwrap()).unwrap()
}

fn context(heard: Option<EvaluateRequest>) -> Value {
    on_the_wire(heard)["context"].clone()
}

#[test]
fn of_a_plain_action_the_authority_hears_its_name_and_the_agent() {
    let (answer, heard) = ask(fixed(), request("/clusters/7?dry=1"));
    assert_eq!(answer.status, 200);
    assert_eq!(
        on_the_wire(heard),
        json!({"action_type": ACTION, "actor_id": AGENT, "context": {}})
    );
}

#[test]
fn every_part_of_a_target_is_heard() {
    let target = RequestTarget::action(ACTION)
        .resource(|request| {
            Ok(request
                .uri
                .path()
                .trim_start_matches("/clusters/")
                .to_owned())
        })
        .context(|_| {
            Ok(Context::from_serialize(
                &json!({"region": "eu", "method": "to be replaced"}),
            )?)
        })
        .method()
        .path()
        .header("x-change-ticket", "ticket")
        .client_address(|request| request.extensions.get().copied())
        .options(|request, options| {
            let id = request.headers["x-request-id"].to_str().unwrap();
            options
                .environment("production")
                .request_id(id)
                .require_approval(true)
        });
    let mut request = bearing("/clusters/7?dry=1", any_token());
    *request.method_mut() = Method::PATCH;
    request
        .headers_mut()
        .insert("x-change-ticket", HeaderValue::from_static("T-1"));
    request
        .headers_mut()
        .insert("x-request-id", HeaderValue::from_static("r-1"));
    let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    request.extensions_mut().insert(address);
    let (answer, heard) = ask_with_token(target, request);
    assert_eq!(answer.status, 200);
    assert_eq!(
        on_the_wire(heard),
        json!({
            "action_type": ACTION, "actor_id": AGENT, "resource_id": "7",
            "context": {
                "region": "eu", "method": "PATCH", "path": "/clusters/7", "ticket": "T-1",
                "client_address": "192.0.2.7",
            },
            "environment": "production", "request_id": "r-1", "require_approval": true,
        })
    );
}

#[derive(Action)]
#[action("read_patient_record")]
struct ReadPatientRecord {
    #[action(resource)]
    patient_id: String,
    share: f64,
}

fn of_a_patient(share: f64) -> RequestTarget<ReadPatientRecord> {
    RequestTarget::action_from(move |request| {
        let id = request.uri.path().strip_prefix("/patients/");
        let id = id.ok_or_else(|| Refusal::bad_request("it names no patient"))?;
        Ok(ReadPatientRecord {
            patient_id: id.to_owned(),
            share,
        })
    })
    .agent(AGENT)
}

#[test]
fn a_typed_action_brings_its_resource_and_context() {
    let (answer, heard) = ask(of_a_patient(0.5), request("/patients/7"));
    assert_eq!(answer.status, 200);
    assert_eq!(
        on_the_wire(heard),
        json!({
            "action_type": "read_patient_record", "actor_id": AGENT, "resource_id": "7",
            "context": {"patient_id": "7", "share": 0.5},
        })
    );
}

#[test]
fn an_action_that_cannot_be_read_from_the_request_asks_nobody() {
    let result = ask(of_a_patient(0.5), request("/doctors/7"));
    expect_refusal(&result, 400, "it names no patient", "another path");
    // A value without JSON comes from the service, not from the caller.
    let result = ask(of_a_patient(f64::NAN), request("/patients/7"));
    expect_refusal(&result, 500, "cannot authorize requests", "no number");
}

#[test]
fn a_refusal_by_any_part_asks_nobody() {
    let refuse = || Refusal::bad_request("it is too late");
    for target in [
        fixed().resource(move |_| Err(refuse())),
        fixed().context(move |_| Err(refuse())),
        fixed().agent_from(move |_| Err::<String, _>(refuse())),
    ] {
        expect_refusal(&ask(target, request("/")), 400, "it is too late", "a part");
    }
}

#[test]
fn an_error_of_the_contract_is_our_mistake() {
    let invalid = || Error::Invalid("secret detail".into());
    let target = fixed().context(move |_| Err(invalid().into()));
    expect_refusal(
        &ask(target, request("/")),
        500,
        "cannot authorize requests",
        "invalid",
    );
    for name in [String::new(), "x".repeat(257)] {
        let result = ask(RequestTarget::action(name).agent(AGENT), request("/"));
        expect_refusal(&result, 500, "cannot authorize requests", "a name");
    }
}

#[test]
fn fields_that_are_said_twice_are_those_said_last() {
    let with =
        |value: &'static str| move |_: &_| Ok(Context::from_serialize(&json!({"method": value}))?);
    let (_, heard) = ask(fixed().context(with("A")).context(with("B")), request("/"));
    assert_eq!(context(heard), json!({"method": "B"}));
    let (_, heard) = ask(fixed().method().context(with("A")), request("/"));
    assert_eq!(context(heard), json!({"method": "A"}));
    let (_, heard) = ask(fixed().context(with("A")).method(), request("/"));
    assert_eq!(context(heard), json!({"method": "POST"}));
}

#[test]
fn options_cannot_change_who_asks_for_what() {
    let target = fixed().options(|_, _| {
        let json = json!({"environment": "e", "action_type": "drop", "actor_id": "root"});
        serde_json::from_value::<RequestOptions>(json).unwrap()
    });
    let (_, heard) = ask(target, request("/"));
    assert_eq!(
        on_the_wire(heard),
        json!({"action_type": ACTION, "actor_id": AGENT, "context": {}, "environment": "e"})
    );
}

#[test]
fn a_header_is_heard_where_there_is_one_and_asks_nobody_where_there_are_two() {
    let target = || fixed().header("x-change-ticket", "ticket");
    let with = |values: &[&[u8]]| {
        let mut request = request("/");
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append("x-change-ticket", value);
        }
        ask(target(), request)
    };
    assert_eq!(context(with(&[]).1), json!({}));
    assert_eq!(context(with(&[b""]).1), json!({"ticket": ""}));
    // A single header with a comma is not a list: its meaning is up to the policies.
    assert_eq!(
        context(with(&[b"T-1, T-2"]).1),
        json!({"ticket": "T-1, T-2"})
    );
    let twice: [&[&[u8]]; 2] = [&[b"T-1", b"T-1"], &[b"", b"T-1"]];
    for values in twice {
        expect_refusal(&with(values), 400, "more than once", "twice");
    }
    expect_refusal(&with(&[b"\xc3\xa9"]), 400, "not plain ASCII", "no ASCII");
}

#[test]
fn an_address_is_heard_without_its_port_and_in_one_form() {
    let target = || fixed().client_address(|request| request.extensions.get().copied());
    for (address, heard_as) in [
        ("192.0.2.7:1", "192.0.2.7"),
        ("[2001:db8::7]:1", "2001:db8::7"),
        ("[2001:0db8:0:0:0:0:0:7]:1", "2001:db8::7"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
    ] {
        let mut request = request("/");
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(address);
        // Headers that claim an address are ignored.
        request
            .headers_mut()
            .insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
        assert_eq!(
            context(ask(target(), request).1),
            json!({"client_address": heard_as})
        );
    }
    expect_refusal(
        &ask(target(), request("/")),
        500,
        "cannot authorize requests",
        "no address",
    );
}

#[test]
fn a_grpc_method_is_an_action_by_its_name() {
    let target = || RequestTarget::grpc_method().agent(AGENT);
    let (answer, heard) = ask(target(), request("/clinic.v1.Patients/Read"));
    assert_eq!(answer.status, 200);
    assert_eq!(heard.unwrap().action_type, "clinic.v1.Patients/Read");
    for path in [
        "/",
        "/clinic.v1.Patients",
        "/clinic.v1.Patients/",
        "/a/b/c",
        "/a/b/",
    ] {
        expect_refusal(&ask(target(), request(path)), 400, "gRPC method", path);
    }
    let long = format!("/clinic/{}", "x".repeat(256));
    expect_refusal(
        &ask(target(), request(&long)),
        400,
        "256 characters",
        "long",
    );
    // Another case is another method, which no policy allows.
    let (answer, heard) = ask(target(), request("/clinic.v1.patients/read"));
    assert_eq!(answer.status, 403);
    assert_eq!(heard.unwrap().action_type, "clinic.v1.patients/read");
}

#[test]
fn an_action_of_the_requests_own_naming_is_heard_by_that_name() {
    let target = RequestTarget::action_from(|request| {
        let name = request.uri.path().trim_start_matches('/').to_owned();
        Ok(AnyAction::new(name)?.with_resource("r"))
    });
    let (answer, heard) = ask(target.agent(AGENT).path(), request("/drop"));
    assert_eq!(answer.status, 403);
    assert_eq!(
        on_the_wire(heard),
        json!({
            "action_type": "drop", "actor_id": AGENT, "resource_id": "r", "context": {"path": "/drop"},
        })
    );
}

#[test]
fn options_that_are_set_twice_are_both_set() {
    let target = fixed()
        .options(|_, options| options.environment("production").require_approval(true))
        .options(|request, options| options.request_id(request.uri.path()));
    let (_, heard) = ask(target, request(PATH));
    let heard = on_the_wire(heard);
    assert_eq!(heard["environment"], "production", "{heard}");
    assert_eq!(heard["require_approval"], true, "{heard}");
    assert_eq!(heard["request_id"], PATH, "{heard}");

    let asked = PermitRequest::new(AGENT, AnyAction::new("drop").unwrap()).unwrap();
    let asked = asked
        .options(|options| options.environment("production"))
        .options(|options| options.request_id("r-1"));
    let printed = format!("{asked:?}");
    assert!(
        printed.contains(r#"{"environment", "request_id"}"#),
        "{printed}"
    );
}

#[test]
fn what_is_said_twice_of_the_action_has_its_last_value_and_every_refusal_counts() {
    let field = |value: &'static str| {
        move |_: &Parts| {
            let mut context = Context::new();
            context.insert("field", value)?;
            Ok(context)
        }
    };
    let target = fixed()
        .resource(|_| Ok("first".into()))
        .resource(|_| Ok("second".into()))
        .context(field("first"))
        .context(field("second"))
        .method()
        .method()
        .path()
        .path();
    let heard = on_the_wire(ask(target, request(PATH)).1);
    assert_eq!(heard["resource_id"], "second");
    let context = json!({"field": "second", "method": "POST", "path": PATH});
    assert_eq!(heard["context"], context);

    let refusing = || Err(Refusal::bad_request("it is not to be"));
    for target in [
        fixed()
            .resource(move |_| refusing())
            .resource(|_| Ok("r".into())),
        fixed()
            .context(move |_| Err(Refusal::bad_request("it is not to be")))
            .context(field("a")),
    ] {
        expect_refusal(
            &ask(target, request(PATH)),
            400,
            "it is not to be",
            "the first",
        );
    }
}

#[test]
fn the_agent_is_the_one_that_is_named_last() {
    let mut by_header = request(PATH);
    let value = HeaderValue::from_static("by-header");
    by_header.headers_mut().insert("x-agent-id", value);
    let ask = |target: RequestTarget| {
        let heard = ask(target, by_header.clone()).1.unwrap();
        heard.actor_id.as_str().to_owned()
    };
    let found = |name: &'static str| move |_: &Parts| Ok(name);
    assert_eq!(ask(fixed().agent("a").agent("b")), "b");
    assert_eq!(
        ask(fixed().agent("a").trusted_header("x-agent-id")),
        "by-header"
    );
    assert_eq!(
        ask(fixed().trusted_header("x-agent-id").agent_from(found("c"))),
        "c"
    );
    assert_eq!(ask(fixed().agent_from(found("c")).agent("d")), "d");
}
