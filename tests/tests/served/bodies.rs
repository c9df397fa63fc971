//! Bodies that are not JSON, or that the server must not read.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{AGENT, Answer, KEY, Served, TARGETS, deploy, keyed, token_of};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let served = Served::start().await;
    for target in TARGETS {
        for body in [
            "",
            " ",
            "null",
            "[]",
            "\"x\"",
            "7",
            "{",
            "{]",
            "{}x",
            "action_type=deploy",
            "[{}]",
            "{'a':1}",
        ] {
            let answer = served.post_text(target, body).await;
            answer.is_problem(400, "INVALID_JSON");
        }
        for body in [
            &b"\xff\xfe"[..],
            b"{\"action_type\": \"\xc3\"}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\x00\"}",
        ] {
            served
                .post_text(target, body)
                .await
                .is_problem(400, "INVALID_JSON");
        }
    }
    assert_eq!(served.events().await.len(), 1, "nothing is on record");
}

#[tokio::test]
async fn a_field_that_stands_twice_is_refused() {
    let served = Served::start().await;
    let twice = format!(r#"{{"action_type":"drop","action_type":"deploy","actor_id":"{AGENT}"}}"#);
    served
        .post_text("/v1-evaluate", twice)
        .await
        .is_problem(422, "INVALID_FIELD");
    let twice = r#"{"permit_token":"a","permit_token":"b"}"#;
    served
        .post_text("/v1-verify-permit", twice)
        .await
        .is_problem(422, "INVALID_FIELD");
}

#[tokio::test]
async fn a_key_that_stands_twice_in_a_value_is_refused_and_named() {
    let served = Served::start().await;
    for (name, value) in [
        ("context", r#"{"amount":5,"amount":1000000}"#),
        ("context", r#"{"a":[{"amount":5,"\u0061mount":5}]}"#),
        ("state_snapshot", r#"{"a":{"amount":5,"amount":6}}"#),
        ("approval", r#"[{"amount":5,"amount":6}]"#),
    ] {
        let body = format!(r#"{{"action_type":"deploy","actor_id":"{AGENT}","{name}":{value}}}"#);
        for target in ["/v1-evaluate", "/v1-evaluate-stream"] {
            let answer = served.post_text(target, body.clone()).await;
            assert!(
                answer.text.contains("the key `amount` is repeated"),
                "{}",
                answer.text
            );
            answer.is_problem(422, "INVALID_FIELD");
        }
    }
    assert_eq!(served.events().await.len(), 1, "nothing is on record");
}

#[tokio::test]
async fn a_context_is_no_place_to_hide_something() {
    let served = Served::start().await;
    let ask = |context: String| {
        let body =
            format!(r#"{{"action_type":"deploy","actor_id":"{AGENT}","context":{context}}}"#);
        served.post_text("/v1-evaluate", body)
    };
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    token_of(&ask(deep(60)).await);
    for levels in [200, 10_000, 100_000] {
        ask(deep(levels)).await.is_problem(400, "INVALID_JSON");
    }
    for wrong in [r#"{"a":"\ud800"}"#, r#"{"a":"\udc00"}"#, r#"{"\ud800":1}"#] {
        ask(wrong.to_owned()).await.is_problem(400, "INVALID_JSON");
    }
    for wrong in [r#"{"a":1e999999}"#, r#"{"a":1e-999999}"#] {
        let answer = ask(wrong.to_owned()).await;
        answer.is_problem(422, "INVALID_FIELD");
        assert!(answer.text.contains("exponent"), "{}", answer.text);
    }
    token_of(&ask(r#"{"a":"\ud83d\ude00"}"#.to_owned()).await);
}

#[tokio::test]
async fn a_number_that_is_too_large_is_a_wrong_field_and_still_json() {
    let served = Served::start().await;
    for fields in [
        r#""amount":1e999"#,
        r#""amount":-1e999"#,
        r#""state_snapshot":{"x":1e400}"#,
    ] {
        let body = format!(r#"{{"action_type":"deploy","actor_id":"{AGENT}",{fields}}}"#);
        for target in ["/v1-evaluate", "/v1-evaluate-stream"] {
            let answer = served.post_text(target, body.clone()).await;
            answer.is_problem(422, "INVALID_FIELD");
            let is_named = answer.text.contains("a number is too large");
            assert!(is_named, "{fields}: {}", answer.text);
        }
        let batch = format!(r#"{{"items":[{body}]}}"#);
        let answer = served.post_text("/v1/evaluate/batch", batch).await.json();
        assert_eq!(answer["items"][0]["error_code"], "INVALID_FIELD");
    }
    assert_eq!(served.events().await.len(), 1, "nothing is on record");
}

#[tokio::test]
async fn an_error_names_no_type_of_rust() {
    let served = Served::start().await;
    for (target, body, expected) in [
        (
            "/v1-audit/exports",
            json!({"types": 7}),
            "`types` has to be a list of event types",
        ),
        (
            "/v1/permits/pt_0/complete",
            json!({"permit_token": "x", "outcome": "failed", "duration_ms": -1}),
            "expected a whole number from 0 to",
        ),
        (
            "/v1/hitl",
            json!({"agent_id": "bot", "escalation_reason": "r", "min_approvers": 1.5}),
            "expected a whole number from 0 to 4294967295",
        ),
        (
            "/v1/hitl",
            json!({"agent_id": "bot", "escalation_reason": "r", "risk_score": "high"}),
            "expected a number",
        ),
    ] {
        let answer = served.post(target, &body).await;
        answer.is_problem(422, "INVALID_FIELD");
        assert!(answer.text.contains(expected), "{target}: {}", answer.text);
    }
}

/// Returns a request body of exactly this many bytes.
fn of_length(length: usize) -> String {
    let body =
        json!({"action_type": "deploy", "actor_id": AGENT, "context": {"x": ""}}).to_string();
    let fill = "x".repeat(length - body.len());
    body.replace(r#""x":"""#, &format!(r#""x":"{fill}""#))
}

#[tokio::test]
async fn a_body_has_a_mebibyte_and_not_a_byte_more() {
    let served = Served::start().await;
    assert_eq!(of_length(MIB).len(), MIB);
    token_of(&served.post_text("/v1-evaluate", of_length(MIB)).await);
    for target in TARGETS {
        let answer = served.post_text(target, of_length(MIB + 1)).await;
        answer.is_problem(413, "BODY_TOO_LARGE");
    }
    // Sends the body in chunks, and therefore without a length.
    let chunked = |length: usize| {
        let pieces = of_length(length).into_bytes();
        let pieces: Vec<_> = pieces
            .chunks(65_536)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let frames = pieces
            .into_iter()
            .map(|piece| piece.map(hyper::body::Frame::data));
        let stream = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        keyed(served.bare(Method::POST, "/v1-evaluate")).body(reqwest::Body::wrap(stream))
    };
    token_of(&Answer::receive(chunked(MIB)).await);
    Answer::receive(chunked(MIB + 1))
        .await
        .is_problem(413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_length_that_is_announced_is_believed_before_it_is_sent() {
    let served = Served::start().await;
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    let head = format!(
        "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 99999999999\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_compressed_is_refused() {
    let served = Served::start().await;
    for target in TARGETS {
        for encoding in ["gzip", "br", "identity, gzip", "GZIP", "x"] {
            let request = keyed(served.bare(Method::POST, target));
            let request = request.header(CONTENT_ENCODING, encoding);
            let answer = Answer::receive(request.body(deploy().to_string())).await;
            answer.is_problem(415, "UNSUPPORTED_MEDIA_TYPE");
            assert!(
                answer.text.contains("`Content-Encoding`"),
                "{}",
                answer.text
            );
        }
    }
    for encoding in ["identity", "Identity", ""] {
        let request = keyed(served.bare(Method::POST, "/v1-evaluate"));
        let request = request.header(CONTENT_ENCODING, encoding);
        token_of(&Answer::receive(request.body(deploy().to_string())).await);
    }
    let request = keyed(served.bare(Method::POST, "/v1-evaluate"));
    let twice = request.header(CONTENT_TYPE, "application/json");
    Answer::receive(twice.body(deploy().to_string()))
        .await
        .is_problem(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn a_body_has_to_say_that_it_is_json() {
    let served = Served::start().await;
    let post = |kind: Option<&str>| {
        let mut request = served.bare(Method::POST, "/v1-evaluate");
        request = request.header(AUTHORIZATION, format!("Bearer {KEY}"));
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        Answer::receive(request.body(deploy().to_string()))
    };
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;x=y",
        "application/json; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
    ] {
        token_of(&post(Some(kind)).await);
    }
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
        Some("application/json; charset=utf-16"),
        Some("application/json; CHARSET=\"UTF-16LE\""),
        Some("application/json; charset=iso-8859-1"),
        Some("application/json; charset=utf-8; charset=utf-16"),
        Some("application/json; charset="),
        Some("application/json; charset"),
        Some(""),
    ] {
        post(kind).await.is_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
}
