//! The bytes of each request, as the contract defines them (part A, "Every request"), and that
//! cached answers need no request.

use std::collections::HashSet;

use atlasent::client::{DecisionCache, EventFilter};
use atlasent::testing::VirtualTime;
use atlasent::wire::{EvaluateRequest, RequestOptions, VerifyRequest};
use atlasent::{Agent, AnyAction, AuthorityExt, Client};
use atlasent_tests::server::{Reply, Request, Server};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::cases::{ACTION, AGENT, Call, TOKEN};
use crate::genuine;
use crate::support::{KEY, bodies, client, http2_client, json_of, question, token};

/// Makes each call once, in the order of the contract's table.
async fn every_call(client: &Client) {
    client.evaluate(&question()).await.unwrap();
    client.evaluate_preflight(&question()).await.unwrap();
    client.verify(&VerifyRequest::new(token())).await.unwrap();
    client.revoke_permit(&token(), "").await.unwrap();
    client.key_self().await.unwrap();
    client.audit_events(&EventFilter::default()).await.unwrap();
    client.audit_export(&EventFilter::default()).await.unwrap();
    client.signing_keys().await.unwrap();
    let events: Vec<_> = client
        .evaluate_stream(&question())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(events.len(), 2);
}

/// The method, target and body of every call without optional fields.
fn table() -> Vec<(&'static str, &'static str, String)> {
    let question = format!(r#"{{"action_type":"{ACTION}","actor_id":"{AGENT}","context":{{}}}}"#);
    vec![
        ("POST", "/v1-evaluate", question.clone()),
        ("POST", "/v1-evaluate?include=constraint_trace", question),
        (
            "POST",
            "/v1-verify-permit",
            format!(r#"{{"permit_token":"{TOKEN}","action_type":"","actor_id":""}}"#),
        ),
        (
            "POST",
            "/v1-revoke-permit",
            format!(r#"{{"decision_id":"{TOKEN}","reason":"","api_key":"{KEY}"}}"#),
        ),
        ("GET", "/v1-api-key-self", String::new()),
        ("GET", "/v1-audit/events", String::new()),
        ("POST", "/v1-audit/exports", "{}".to_owned()),
        ("GET", "/v1-signing-keys", String::new()),
        (
            "POST",
            "/v1-evaluate-stream",
            format!(
                r#"{{"action":"{ACTION}","agent":"{AGENT}","context":{{}},"api_key":"{KEY}"}}"#
            ),
        ),
    ]
}

fn headers_are_those_of_the_contract(request: &Request, agent: &str) {
    let stream = request.path() == "/v1-evaluate-stream";
    let accept = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", accept),
        ("authorization", &*format!("Bearer {KEY}")),
        ("user-agent", agent),
        ("x-atlasent-protocol-version", "1"),
    ] {
        assert_eq!(
            request.header(name),
            Some(value),
            "{name} of {}",
            request.target
        );
    }
    let id = request.header("x-request-id").unwrap();
    assert!(
        id.len() >= 8
            && id
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-'),
        "{id}"
    );
    // The key is only where the table has it.
    let others =
        (request.headers.iter()).filter(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    for (name, value) in others {
        assert!(
            !String::from_utf8_lossy(value).contains(KEY),
            "{name} of {}",
            request.target
        );
    }
    let in_body = stream || request.path() == "/v1-revoke-permit";
    assert_eq!(request.text().contains(KEY), in_body, "{}", request.target);
    assert!(!request.target.contains(KEY));
}

#[tokio::test]
async fn every_call_is_the_one_of_the_table() {
    let user_agent = format!("atlasent-rust/{}", env!("CARGO_PKG_VERSION"));
    let (http1, http2) = (genuine::server(), Server::start_http2(genuine::reply));
    for (server, builder) in [
        (&http1, client(http1.url())),
        (&http2, http2_client(http2.url())),
    ] {
        every_call(&builder.build().unwrap()).await;
        let requests = server.requests();
        let mut ids = HashSet::new();
        assert_eq!(requests.len(), table().len());
        for (request, (method, target, body)) in requests.iter().zip(table()) {
            assert_eq!((&*request.method, &*request.target), (method, target));
            // Compact, with the same fields in any order.
            assert_eq!(json_of(request.text()), json_of(&body), "{target}");
            assert_eq!(
                request.text().len(),
                body.len(),
                "{target}: {}",
                request.text()
            );
            headers_are_those_of_the_contract(request, &user_agent);
            assert!(
                ids.insert(request.header("x-request-id").unwrap().to_owned()),
                "{target}"
            );
        }
        assert!(
            server.accepted() <= 2,
            "calls that follow each other share a connection: {server:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_sent_that_the_contract_does_not_name() {
    let server = genuine::server();
    every_call(&client(server.url()).build().unwrap()).await;
    let known = [
        "content-type",
        "accept",
        "authorization",
        "user-agent",
        "x-request-id",
        "x-atlasent-protocol-version",
        "host",
        "content-length",
    ];
    for request in server.requests() {
        for (name, _) in &request.headers {
            assert!(
                known.contains(&&*name.to_ascii_lowercase()),
                "{name} in {}",
                request.target
            );
        }
    }
}

#[tokio::test]
async fn the_request_id_is_the_same_for_all_attempts_of_a_call_and_for_no_two_calls() {
    let server = Server::start(|request: &Request| match request.attempt % 3 {
        0 => genuine::reply(request),
        _ => Reply::status(503),
    });
    let client = client(server.url())
        .virtual_time(&VirtualTime::new())
        .build()
        .unwrap();
    every_call(&client).await;
    every_call(&client).await;
    let requests = server.requests();
    assert_eq!(requests.len(), 2 * 3 * table().len());
    let mut ids = HashSet::new();
    for attempts in requests.chunks(3) {
        let [first, second, third] = attempts else {
            panic!("{attempts:?}")
        };
        let id = first.header("x-request-id").unwrap();
        for other in [second, third] {
            assert_eq!(other.header("x-request-id"), Some(id));
            assert_eq!((&other.target, &other.body), (&first.target, &first.body));
        }
        assert!(ids.insert(id.to_owned()));
    }
}

#[tokio::test]
async fn a_user_agent_gets_its_suffix() {
    let server = genuine::server();
    let client = client(server.url())
        .user_agent_suffix("my-service/1.2")
        .build()
        .unwrap();
    every_call(&client).await;
    let user_agent = format!("atlasent-rust/{} my-service/1.2", env!("CARGO_PKG_VERSION"));
    for request in server.requests() {
        headers_are_those_of_the_contract(&request, &user_agent);
    }
}

#[tokio::test]
async fn a_remembered_allow_is_not_asked_for_again_and_protect_always_asks() {
    let server = Server::start(|request: &Request| match request.path() {
        "/v1-evaluate" if request.text().contains("denied") => {
            Reply::json(200, json!({"decision": "deny"}))
        }
        _ => genuine::reply(request),
    });
    let client = client(server.url())
        .cache(DecisionCache::default())
        .build()
        .unwrap();
    let asked = || bodies(&server, Call::Evaluate.path()).len();

    let first = client.evaluate(&question()).await.unwrap();
    assert_eq!(
        (client.evaluate(&question()).await.unwrap(), asked()),
        (first, 1)
    );
    for n in 2..4 {
        drop(
            client
                .protect(AGENT, AnyAction::new(ACTION).unwrap())
                .await
                .unwrap(),
        );
        assert_eq!(asked(), n, "protect asks, whatever is remembered");
    }
    client.evaluate_preflight(&question()).await.unwrap();
    assert_eq!(asked(), 4, "a preflight asks for a trace of today");

    let other = |action: &str, agent: &str, field: &str| {
        let action = AnyAction::new(action.to_owned())
            .unwrap()
            .with_field(field, "x")
            .unwrap();
        EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap()
    };
    let different = [
        other(ACTION, AGENT, "f"),
        other(ACTION, AGENT, "g"),
        other(ACTION, "other", "f"),
        other("other", AGENT, "f"),
        question().with_options(RequestOptions::default().environment("production")),
        question().with_options(RequestOptions::default().amount(1)),
        question().with_options(RequestOptions::default().amount(2)),
    ];
    for (n, request) in different.iter().enumerate() {
        client.evaluate(request).await.unwrap();
        assert_eq!(asked(), 5 + n, "the whole request is the key: {request:?}");
    }
    for request in &different {
        client.evaluate(request).await.unwrap();
    }
    assert_eq!(asked(), 4 + different.len(), "each is remembered");

    let before = asked();
    for n in 1..4 {
        client.evaluate(&other("denied", AGENT, "f")).await.unwrap();
        assert_eq!(asked(), before + n, "a refusal is asked for anew");
    }
    // A clone shares the cache of its original. A client without a cache caches nothing.
    client.clone().evaluate(&question()).await.unwrap();
    assert_eq!(asked(), before + 3);
}

#[tokio::test]
async fn without_a_cache_every_evaluation_is_asked_for() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    for _ in 0..3 {
        client.evaluate(&question()).await.unwrap();
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_base_url_may_have_a_path_and_slashes() {
    let server = Server::start(|_: &Request| Reply::json(200, genuine::key()));
    for (tail, path) in [
        ("/", "/v1-api-key-self"),
        ("/a/b//", "/a/b/v1-api-key-self"),
    ] {
        let client = client(&format!("{}{tail}", server.url())).build().unwrap();
        client.key_self().await.unwrap();
        assert_eq!(server.requests().last().unwrap().target, path);
    }
}
