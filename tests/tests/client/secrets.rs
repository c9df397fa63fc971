//! No error, refusal or `tracing` event shows a secret that a call has sent or
//! received, whatever spelling the server uses and wherever it puts it.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::{PermitToken, RequestOptions};
use atlasent::{AnyAction, AuthorityExt, Client, Error};
use atlasent_tests::capture;
use atlasent_tests::http::plain;
use atlasent_tests::server::{Reply, Request, Server};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::cases::{ACTION, AGENT};
use crate::support::{client, question};

const KEY: &str = "ask_test_Qm7xV2pLz9-fGh3k";
const STATUSES: [u16; 9] = [200, 302, 307, 400, 401, 403, 429, 500, 503];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn client_of(server: &Server) -> Client {
    client(server.url())
        .api_key(KEY)
        .virtual_time(&VirtualTime::new())
        .build()
        .unwrap()
}

fn action() -> AnyAction {
    AnyAction::new(ACTION).unwrap()
}

/// Runs a call. Returns all of its output: its error in every form, and its log lines.
fn shown<T: Debug>(call: impl Future<Output = Result<T, Error>>) -> Vec<String> {
    let (result, seen) = capture(|| runtime().block_on(call));
    let mut shown: Vec<_> = seen
        .into_iter()
        .flat_map(|seen| seen.fields.into_values().chain([seen.name]))
        .collect();
    match result {
        Ok(answer) => shown.push(format!("{answer:?}")),
        Err(error) => {
            shown.extend([error.to_string(), format!("{error:?}")]);
            if let Some(denied) = error.denied() {
                let texts = [denied.code(), denied.evaluation_id(), denied.audit_hash()];
                shown.push(denied.reason().to_owned());
                shown.extend(texts.into_iter().flatten().map(str::to_owned));
            }
            if let Some(failure) = error.failure() {
                shown.push(failure.message().to_owned());
                shown.extend(failure.request_id().map(str::to_owned));
            }
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                shown.extend([inner.to_string(), format!("{inner:?}")]);
                source = inner.source();
            }
        }
    }
    shown
}

/// Returns eight consecutive characters of the secret that a text contains. Redaction shows six.
fn piece_of<'s>(secret: &'s str, shown: &[String]) -> Option<&'s str> {
    let secret = secret.trim_start_matches("ask_test_");
    let starts: Vec<_> = secret.char_indices().map(|(at, _)| at).collect();
    (0..starts.len().saturating_sub(7))
        .map(|n| &secret[starts[n]..starts.get(n + 8).copied().unwrap_or(secret.len())])
        .find(|piece| shown.iter().any(|text| text.contains(piece)))
}

fn assert_hidden(secret: &str, shown: &[String], case: &str) {
    let piece = piece_of(secret, shown);
    assert_eq!(piece, None, "{case}: {shown:#?}");
}

/// A server whose evaluation allows with this token, and that returns another response to all other
/// calls.
fn allowing(token: &str, other: Reply) -> Server {
    let allow = Reply::json(200, json!({"decision": "allow", "permit_token": token}));
    Server::start(move |request: &Request| match request.path() {
        "/v1-evaluate" => allow.clone(),
        _ => other.clone(),
    })
}

#[test]
fn no_way_to_repeat_a_token_gets_it_into_an_error_or_a_log() {
    let token = "permit_\"2f9d/4c8b\"\u{fc}7a6e-5f10-9c3d";
    let literal = serde_json::to_string(token).unwrap();
    let solidus = literal.replace('/', "\\/");
    let escaped = literal.replace('p', "\\u0070").replace('\u{fc}', "\\u00FC");
    let nested = serde_json::to_string(&format!("{{\"permit_token\":{literal}}}")).unwrap();
    let bodies = [
        format!(r#"{{"message":{literal}}}"#),
        format!(r#"{{"message":{solidus}}}"#),
        format!(r#"{{"error":{escaped}}}"#),
        format!(r#"{{"result":{{"permit_token":{literal}}}}}"#),
        format!(r#"[[{literal},[{solidus}]]]"#),
        format!(r#"{{"errors":[{{"detail":{escaped}}}]}}"#),
        format!(r#"{{{literal}:{{{escaped}:1}}}}"#),
        format!(r#"{{"message":"a","message":{literal}}}"#),
        format!(r#"{{"message":{nested}}}"#),
        format!(r#"{{"message":{nested},"x":{nested}}}"#),
        r#"{"message":"see /v1?token=permit_%222f9d%2F4c8b%22%C3%BC7a6e-5f10-9c3d"}"#.to_owned(),
        r#"{"message":"cut: permit_\"2f9d/4c8b"}"#.to_owned(),
        format!(r#"{{"message":"{}{}"#, "x".repeat(490), &literal[1..]) + "}",
        // None of these bodies is JSON.
        format!(r#"{{"permit_token":{literal}"#),
        format!(r#"{{"message":"no {}"#, &literal[1..20]),
        format!("data: {{\"permit_token\":{literal}}}\n\n"),
        format!("<p>no permit {token}</p>"),
        token.to_owned(),
        format!("{}[{literal}]{}", "[".repeat(200), "]".repeat(200)),
    ];
    for status in STATUSES {
        for body in &bodies {
            let reply = Reply::json(status, body).header("location", format!("/{KEY}"));
            let server = allowing(token, reply);
            let client = client_of(&server);
            let permit = PermitToken::new(token).unwrap();
            let case = format!("{status} {body}");
            assert_hidden(token, &shown(client.protect(AGENT, action())), &case);
            assert_hidden(token, &shown(client.revoke_permit(&permit, "")), &case);
        }
    }
}

#[test]
fn what_only_the_body_has_is_a_secret_too() {
    let token = "permit_2f9d4c8b7a6e5f10";
    for (body, said) in [
        (json!({"result": {"permit_token": token}}), "…6e5f10"),
        (
            json!({"message": format!("no {token}!"), "permit": {"id": token}}),
            "no …6e5f10!",
        ),
        (
            json!({"reason": format!("no {token}!"), "sent": [{"Authorization": token}]}),
            "no …6e5f10!",
        ),
        (
            json!({"error": {"apiKey": token}, "decision_id": token}),
            "…6e5f10",
        ),
        (
            json!({"message": json!({"jwt": token}).to_string()}),
            "…6e5f10",
        ),
        (
            json!({"message": format!("no {token}!"), "inner": json!({"jwt": token}).to_string()}),
            "no …6e5f10!",
        ),
    ] {
        for status in STATUSES.into_iter().filter(|status| *status != 200) {
            let reply = Reply::json(status, &body);
            let server = Server::start(move |_: &Request| reply.clone());
            let shown = shown(client_of(&server).evaluate(&question()));
            assert_hidden(token, &shown, &format!("{status} {body}"));
            assert!(shown.iter().any(|text| text.contains(said)), "{shown:?}");
        }
    }
}

/// The response to the second attempt repeats a secret of the first response.
#[test]
fn a_secret_of_one_attempt_is_one_of_the_next() {
    let token = "permit_2f9d4c8b7a6e5f10";
    let server = Server::start(move |request: &Request| {
        let body = match request.attempt {
            1 => json!({"permit_token": token}),
            _ => json!({"message": format!("again {token}")}),
        };
        Reply::json(503, body)
    });
    let shown = shown(client_of(&server).evaluate(&question()));
    assert!(shown.iter().any(|text| text == "retrying"), "{shown:?}");
    assert_hidden(token, &shown, "attempts");
}

#[test]
fn the_token_of_a_refusal_is_not_shown() {
    let token = "permit_2f9d4c8b7a6e5f10";
    let spelled = token.replace('p', "\\u0070");
    for body in [
        format!(r#"{{"decision":"deny","permit_token":"{token}","reason":"no {spelled}"}}"#),
        format!(
            r#"{{"decision":"hold","deny_reason":"{spelled}","deny_code":"{token}","new":[{{"permit_token":"{token}"}}]}}"#
        ),
        format!(
            r#"{{"permitted":false,"permit_token":"{token}","denial":{{"reason":"{token}","code":"{spelled}"}},"audit_hash":"{token}","request_id":"{token}"}}"#
        ),
    ] {
        let reply = Reply::json(200, &body);
        let server = Server::start(move |_: &Request| reply.clone());
        let client = client_of(&server);
        assert_hidden(token, &shown(client.protect(AGENT, action())), &body);
        assert_hidden(token, &shown(client.evaluate(&question())), &body);
        assert_hidden(token, &shown(client.evaluate_preflight(&question())), &body);
    }
}

#[test]
fn no_part_of_an_answer_repeats_its_token() {
    let token = "permit_2f9d4c8b7a6e5f10";
    let evaluation = json!({
        "decision": "allow", "permit_token": token, "decision_id": token, "reason": token, "request_id": token,
        "constraint_trace": {"matching_policy_id": token, "rules_evaluated": [
            {"policy_id": token, "decision": "allow", "fingerprint": token, "stages": [
                {"stage": token, "rule": token, "matched": true, "detail": format!("for {token}"), "order": 0}
            ]}
        ]}
    });
    let verification = json!({
        "valid": true, "reason": token, "permit_hash": token, "timestamp": token,
        "approval": {"approval_id": token, "reviewer": [{"token": token, token: 1}]}
    });
    let server = Server::start(move |request: &Request| match request.path() {
        "/v1-evaluate" => Reply::json(200, &evaluation),
        _ => Reply::json(200, &verification),
    });
    let client = client_of(&server);
    let shown_by_gate = shown(client.gate(AGENT, action()));
    assert_hidden(token, &shown_by_gate, "gate");
    assert!(shown_by_gate.iter().any(|text| text.contains("…6e5f10")));
    assert_hidden(token, &shown(client.evaluate(&question())), "evaluate");
    assert_hidden(
        token,
        &shown(client.authorize(AGENT, action())),
        "authorize",
    );
}

#[test]
fn an_approval_that_was_sent_does_not_come_back_in_an_error() {
    let (id, nonce, signature) = (
        "apr_20261128_77f3",
        "9f8e7d6c5b4a3210",
        "c2lnbmF0dXJlLW9mLWFkYQ",
    );
    let approvals = [
        json!({"approval_id": id}),
        json!({"artifact": {"approval_id": id, "nonce": nonce, "signature": signature}}),
        json!([[id, nonce], {"x": signature}]),
        json!(format!("{id}.{nonce}.{signature}")),
    ];
    for approval in approvals {
        for status in [400, 403, 500] {
            let echo = Server::start(move |request: &Request| {
                let sent: Value = serde_json::from_str(request.text()).unwrap();
                let text = sent["approval"].as_str().map(str::to_owned);
                let text = text.unwrap_or_else(|| format!("no {id}, {nonce} or {signature}"));
                let said = sent["approval"].to_string();
                let known = match &said {
                    said if said.contains(nonce) => text,
                    _ => format!("no {id}"),
                };
                Reply::json(
                    status,
                    json!({"message": format!("{known}: {ACTION}"), "sent": said}),
                )
            });
            let request =
                question().with_options(RequestOptions::default().approval(approval.clone()));
            let shown = shown(client_of(&echo).evaluate(&request));
            for secret in [id, nonce, signature] {
                assert!(!shown.iter().any(|text| text.contains(secret)), "{shown:?}");
            }
            // Public values are not hidden.
            assert!(shown.iter().any(|text| text.contains(ACTION)), "{shown:?}");
        }
    }
}

#[test]
fn a_stream_shows_no_secret_that_it_was_sent_or_that_came_with_it() {
    let token = "permit_2f9d4c8b7a6e5f10";
    let spelled = token.replace('p', "\\u0070");
    let key = KEY.replace('_', "\\u005f");
    let interim =
        format!("event: decision\ndata: {{\"permitted\":true,\"permit_token\":\"{token}\"}}\n\n");
    let on_the_way = format!(
        "event: progress\ndata: {{\"stage\":\"{key}\",\"x\":{{\"permit_token\":\"{token}\"}}}}\n\n"
    );
    for start in [&interim, &on_the_way] {
        for end in [
            format!(
                "event: error\ndata: {{\"message\":\"no {spelled} {key}\",\"request_id\":\"{token}\"}}\n\n"
            ),
            format!(
                "event: error\ndata: {{\"detail\":[{{\"x\":\"{spelled}\"}}],\"key\":\"{key}\"}}\n\n"
            ),
            format!("event: error\ndata: no {token} {KEY}\n\n"),
            format!("event: error\ndata: {{\"message\":\"{token}\n\n"),
            format!("event: decision\ndata: {{\"permitted\":\"{spelled}\"}}\n\n"),
            format!(
                "event: decision\ndata: {{\"decision\":\"deny\",\"is_final\":true,\"reason\":\"{spelled} {key}\"}}\n\n"
            ),
            format!("event: progress\ndata: {{\"stage\":[\"{token}\"]}}\n\n"),
            format!("event: progress\ndata: {{\"stage\":\"{token}\"}}\n\n"),
        ] {
            let body = format!("{start}{end}");
            let case = body.clone();
            let server = Server::start(move |_: &Request| {
                Reply::bytes(200, "text/event-stream", body.clone())
            });
            let client = client_of(&server);
            let all = async {
                let mut events = std::pin::pin!(client.evaluate_stream(&question()));
                let mut seen = Vec::new();
                while let Some(event) = events.try_next().await? {
                    seen.push(format!("{event:?}"));
                }
                Ok(seen)
            };
            let shown = shown(all);
            assert_hidden(token, &shown, &case);
            assert_hidden(KEY, &shown, &case);
        }
    }
}

/// A server ends an HTTP/2 connection with data for debugging, which `h2` displays.
#[test]
fn the_last_words_of_a_connection_show_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let words = format!("no \"{KEY}\"");
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut heard = [0; 1024];
        let _ = socket.read(&mut heard).unwrap();
        let frame = |kind: u8, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
        };
        // SETTINGS, then GOAWAY: the last stream, PROTOCOL_ERROR, and the words (RFC 9113, 6.5 and
        // 6.8).
        let goaway = [&[0, 0, 0, 0, 0, 0, 0, 1], words.as_bytes()].concat();
        socket
            .write_all(&[frame(4, &[]), frame(7, &goaway)].concat())
            .unwrap();
        // The client receives it before the connection is reset.
        while socket.read(&mut heard).is_ok_and(|read| read > 0) {}
    });
    let client = client(&url)
        .api_key(KEY)
        .http_client(plain().http2_prior_knowledge())
        .max_retries(0)
        .build()
        .unwrap();
    let (result, _) = capture(|| runtime().block_on(client.evaluate(&question())));
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some(Code::Network), "{error}");
    drop(client);
    let shown = shown::<()>(async { Err(error) });
    assert_hidden(KEY, &shown, "GOAWAY");
    server.join().unwrap();
}

/// A token that JSON, URLs and Rust's `Debug` each escape differently.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "permit_[A-Za-z0-9_-]{12,40}",
        r#"[A-Za-z0-9"\\/üß€🦀%+=.~ -]{16,40}"#,
        "eyJ[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]{16}",
    ]
}

const HERE: &str = "@here@";

/// Any JSON with [`HERE`] in the secret's place: as a value, as a name, or within other text.
fn any_json() -> impl Strategy<Value = Value> {
    let names = || {
        select(vec![
            "message",
            "error",
            "reason",
            "result",
            "permit_token",
            "x",
            HERE,
            "detail",
            "key",
        ])
    };
    let leaf = prop_oneof![
        4 => Just(json!(HERE)),
        1 => Just(json!(format!("no {HERE}, and {HERE}."))),
        1 => Just(json!(json!({"permit_token": HERE}).to_string())),
        1 => Just(json!({"message": HERE})),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names(), inner), 0..4).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

/// Writes a text into a JSON string, each character in one of its spellings (RFC 8259, 7).
fn spelled(text: &str, ways: &[u8]) -> String {
    let mut literal = String::new();
    for (character, way) in text.chars().zip(ways.iter().cycle()) {
        let plain = serde_json::to_string(&character).unwrap();
        match (way % 3, character) {
            (0, '/') => literal.push_str("\\/"),
            (0 | 1, _) => literal.push_str(&plain[1..plain.len() - 1]),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    literal.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    literal
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// JSON inside a JSON string has the secret in two layers of escapes, which this test
    /// does not cover: there the secret is inserted as in any other text.
    #[test]
    fn any_json_that_repeats_a_secret_is_shown_without_it(
        json in any_json(), token in secret(), ways in prop::collection::vec(any::<u8>(), 1..16),
        status in select(STATUSES.to_vec()), sent in any::<bool>(),
    ) {
        let body = json.to_string();
        for (secret, is_token) in [(token.as_str(), true), (KEY, false)] {
            let body = body.replace(HERE, &spelled(secret, &ways));
            let body = match sent || !is_token {
                true => body,
                false => format!(r#"{{"all":{body},"permit_token":"{}"}}"#, spelled(secret, &ways)),
            };
            let reply = Reply::json(status, &body);
            let shown = match is_token && !sent {
                true => {
                    let server = Server::start(move |_: &Request| reply.clone());
                    shown(client_of(&server).evaluate(&question()))
                }
                false => {
                    let server = allowing(&token, reply);
                    shown(client_of(&server).protect(AGENT, action()))
                }
            };
            prop_assert_eq!(piece_of(secret, &shown), None, "{} {}: {:#?}", status, body, shown);
        }
    }
}
