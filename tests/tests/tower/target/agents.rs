//! Tests how a target finds the agent. A header that any client can send names no agent, unless the
//! target trusts it.

use ati_client::Claims;
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{Refusal, RequestTarget, claims, subject};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Request};
use serde_json::{Value, json};

use super::{ask, ask_with_token, expect_refusal};
use crate::agents::{any_token, bearing, hs256, raw_claims, raw_token, request};
use crate::inner::Body;
use crate::ways::PATH;

/// Adds a header `x-agent-id` for each value.
fn naming(mut request: Request<Body>, values: &[&[u8]]) -> Request<Body> {
    for value in values {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append("x-agent-id", value);
    }
    request
}

fn by_claims() -> RequestTarget {
    RequestTarget::action(ACTION)
}

fn by_header() -> RequestTarget {
    RequestTarget::action(ACTION).trusted_header("x-agent-id")
}

fn with_sub(sub: &str) -> Request<Body> {
    let mut claims = raw_claims();
    claims["sub"] = json!(sub);
    bearing(PATH, &raw_token(&hs256(), &claims))
}

#[test]
fn a_header_from_outside_names_nobody_where_claims_do() {
    let names: [&[&[u8]]; 3] = [&[b"root"], &[b"root", b"admin"], &[b""]];
    for values in names {
        let (answer, heard) =
            ask_with_token(by_claims(), naming(bearing(PATH, any_token()), values));
        assert_eq!(answer.status, 200);
        assert_eq!(heard.unwrap().actor_id.as_str(), AGENT);
        // The header does not replace a token, either.
        let result = ask_with_token(by_claims(), naming(request(PATH), values));
        expect_refusal(&result, 401, "has no token", "no token");
    }
}

#[test]
fn a_fixed_agent_is_that_one_whoever_calls() {
    let target = by_claims().agent("cron");
    let (_, heard) = ask_with_token(target, naming(bearing(PATH, any_token()), &[b"root"]));
    assert_eq!(heard.unwrap().actor_id.as_str(), "cron");
}

#[test]
fn a_trusted_header_names_the_agent() {
    let longest = "x".repeat(256);
    for name in [AGENT, "a b", "a@example.com", &longest] {
        let (answer, heard) = ask(by_header(), naming(request(PATH), &[name.as_bytes()]));
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(heard.unwrap().actor_id.as_str(), name);
    }
}

#[test]
fn a_trusted_header_that_names_nobody_for_sure_names_nobody() {
    let long = "x".repeat(257);
    let cases: [(&[&[u8]], &str); 14] = [
        (&[], "is missing"),
        (&[b"deploy-bot", b"deploy-bot"], "more than once"),
        (&[b"deploy-bot", b"root"], "more than once"),
        (&[b"", b"root"], "more than once"),
        (&[b"deploy-bot,root"], "more than one agent"),
        (&[b"deploy-bot, root"], "more than one agent"),
        (&[b"deploy-bot,"], "more than one agent"),
        (&[b",deploy-bot"], "more than one agent"),
        (&[b""], "is empty"),
        (&[b"  \t"], "is empty"),
        (&[long.as_bytes()], "more than 256 characters"),
        (&["jos\u{e9}".as_bytes()], "is not plain ASCII"),
        (&[b"\xff"], "is not plain ASCII"),
        (&["deploy\u{200b}-bot".as_bytes()], "is not plain ASCII"),
    ];
    for (values, why) in cases {
        let result = ask(by_header(), naming(request(PATH), values));
        expect_refusal(&result, 401, why, why);
        assert!(result.0.headers.contains_key(WWW_AUTHENTICATE), "{why}");
    }
}

#[test]
fn a_name_that_only_looks_alike_is_another_agents() {
    // HTTP servers trim header values. A layer that sees untrimmed values must not read them as
    // `deploy-bot`.
    for name in [
        " deploy-bot",
        "deploy-bot ",
        "deploy-bot\troot",
        "Deploy-Bot",
    ] {
        let (_, heard) = ask(by_header(), naming(request(PATH), &[name.as_bytes()]));
        assert_eq!(heard.unwrap().actor_id.as_str(), name);
    }
}

#[test]
fn another_header_or_a_token_does_not_stand_in_for_the_trusted_one() {
    let mut request = bearing(PATH, any_token());
    for name in ["x_agent_id", "x-agent-ids", "agent-id", "x-agent"] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(AGENT));
    }
    expect_refusal(
        &ask_with_token(by_header(), request),
        401,
        "is missing",
        "others",
    );
}

#[test]
#[should_panic]
fn a_name_that_no_header_can_have_is_found_where_the_target_is_made() {
    drop(by_claims().trusted_header("X-Agent-Id"));
}

#[test]
fn a_subject_that_names_no_agent_is_a_401() {
    for (sub, why) in [
        (String::new(), "is empty"),
        ("x".repeat(257), "more than 256"),
    ] {
        let result = ask_with_token(by_claims(), with_sub(&sub));
        expect_refusal(&result, 401, "`sub` is not a valid agent", why);
        let challenge = result.0.header(WWW_AUTHENTICATE);
        assert_eq!(challenge, Some(r#"Bearer error="invalid_token""#));
        assert!(result.0.problem()["detail"].as_str().unwrap().contains(why));
    }
    for sub in [
        "x".repeat(256),
        "\u{e9}".repeat(256),
        "Jos\u{e9} & Co".into(),
    ] {
        let (answer, heard) = ask_with_token(by_claims(), with_sub(&sub));
        assert_eq!(answer.status, 200, "{sub}");
        assert_eq!(heard.unwrap().actor_id.as_str(), sub);
    }
}

#[test]
fn an_actor_that_names_no_agent_is_a_401_whatever_names_the_agent() {
    let acting = |act: &Value| {
        let mut claims = raw_claims();
        claims["act"] = act.clone();
        bearing(PATH, &raw_token(&hs256(), &claims))
    };
    let long = "x".repeat(257);
    for act in [
        json!({"sub": long}),
        json!({"sub": "helper", "act": {"sub": long}}),
    ] {
        for target in [
            by_claims(),
            by_claims().agent(AGENT),
            by_claims().agent_from(|_| Ok(AGENT)),
        ] {
            let result = ask_with_token(target, acting(&act));
            expect_refusal(&result, 401, "`act` is not a valid agent", "an actor");
            expect_refusal(&result, 401, "more than 256", "an actor");
            let challenge = result.0.header(WWW_AUTHENTICATE);
            assert_eq!(challenge, Some(r#"Bearer error="invalid_token""#));
        }
    }
    let (answer, heard) = ask_with_token(by_claims(), acting(&json!({"sub": "x".repeat(256)})));
    assert_eq!(answer.status, 200);
    assert_eq!(heard.unwrap().actors.len(), 1);
}

#[test]
fn an_agent_that_cannot_be_one_is_our_mistake_where_we_name_it() {
    for name in [String::new(), "x".repeat(257)] {
        let result = ask(by_claims().agent(name), request(PATH));
        expect_refusal(&result, 500, "cannot authorize requests", "fixed");
        assert_eq!(result.0.header(WWW_AUTHENTICATE), None);
    }
}

#[test]
fn without_an_ati_layer_outside_it_is_our_mistake_and_not_the_callers() {
    for request in [request(PATH), bearing(PATH, any_token())] {
        let result = ask(by_claims(), request);
        expect_refusal(&result, 500, "cannot authorize requests", "no layer");
        let told = String::from_utf8_lossy(&result.0.body).into_owned();
        assert!(
            !told.contains("AtiLayer") && !told.contains("Claims"),
            "{told}"
        );
        assert_eq!(result.0.header(WWW_AUTHENTICATE), None);
    }
}

#[test]
fn under_an_optional_ati_layer_whoever_has_no_token_is_told_to_bring_one() {
    let result = ask_with_token(by_claims(), request(PATH));
    expect_refusal(&result, 401, "`Authorization: Bearer <token>`", "optional");
    let challenge = result.0.header(WWW_AUTHENTICATE);
    // RFC 6750 §3.1: a request without a token has no error.
    assert_eq!(challenge, Some("Bearer"));
}

#[test]
fn a_function_finds_the_agent_or_refuses() {
    let by_job = || {
        by_claims().agent_from(|request| {
            let claims = claims(request)?;
            let job = claims.job_id();
            job.map(str::to_owned)
                .ok_or_else(|| Refusal::bad_request("it is no job's"))
        })
    };
    let mut claims = raw_claims();
    for (job, status, detail) in [
        (json!("job-7"), 200, ""),
        (json!(""), 401, "the agent is empty"),
        (json!("x".repeat(257)), 401, "more than 256"),
    ] {
        claims["job_id"] = job;
        let request = bearing(PATH, &raw_token(&hs256(), &claims));
        let (answer, heard) = ask_with_token(by_job(), request);
        assert_eq!(answer.status, status, "{detail}");
        assert_eq!(heard.is_some(), status == 200);
        if let Some(heard) = heard {
            assert_eq!(heard.actor_id.as_str(), "job-7");
        } else {
            answer.expect_refusal(status, detail, detail);
        }
    }
    let result = ask_with_token(by_job(), bearing(PATH, any_token()));
    expect_refusal(&result, 400, "it is no job's", "its own refusal");
    expect_refusal(
        &ask_with_token(by_job(), request(PATH)),
        401,
        "has no token",
        "nobody",
    );
    expect_refusal(
        &ask(by_job(), request(PATH)),
        500,
        "cannot authorize requests",
        "no layer",
    );
}

#[test]
fn what_reads_claims_reads_those_of_the_extensions() {
    let (mut parts, _) = bearing(PATH, any_token()).into_parts();
    assert_eq!(claims(&parts).unwrap_err().status(), 500);
    assert_eq!(subject(&parts).unwrap_err().status(), 500);
    let verified = Claims::builder(AGENT).build().unwrap();
    parts.extensions.insert(verified.clone());
    assert_eq!(claims(&parts).unwrap(), &verified);
    assert_eq!(subject(&parts).unwrap().as_str(), AGENT);
}

#[test]
fn a_stranger_is_not_told_what_is_wrong_with_the_rest() {
    let target = RequestTarget::action("").header("x-ticket", "ticket");
    let mut request = request(PATH);
    for _ in 0..2 {
        request
            .headers_mut()
            .append("x-ticket", HeaderValue::from_static("7"));
    }
    expect_refusal(
        &ask_with_token(target, request),
        401,
        "has no token",
        "a stranger",
    );
}
