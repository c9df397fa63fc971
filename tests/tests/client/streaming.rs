//! Streamed evaluations, split into chunks anywhere and ending anywhere.

use atlasent::client::StreamEvent;
use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::{Decision, Error, blocking};
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use futures_util::StreamExt;
use serde_json::json;

use crate::cases::TOKEN;
use crate::genuine;
use crate::support::{client, ms, question, token};

/// Returns the events of a stream of these bytes.
async fn streamed(reply: Reply) -> (Vec<StreamEvent>, Option<Error>) {
    let server = Server::start(move |_: &Request| reply.clone());
    let client = client(server.url())
        .timeout(ms(20_000))
        .virtual_time(&VirtualTime::new())
        .build()
        .unwrap();
    let mut events = Vec::new();
    let mut stream = std::pin::pin!(client.evaluate_stream(&question()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

fn sse(text: impl Into<Vec<u8>>) -> Reply {
    Reply::bytes(200, "text/event-stream", text)
}

#[tokio::test]
async fn a_stream_is_the_same_however_it_is_cut() {
    let lines = genuine::stream();
    let endings = [
        lines.clone(),
        lines.replace('\n', "\r\n"),
        lines.replace('\n', "\r"),
        lines.replace(": ", ":"),
    ];
    for text in endings {
        for size in [1, 2, 3, 7, 1000] {
            for reply in [
                sse(&*text).chunked(size),
                sse(&*text).pieces(size),
                sse(&*text).until_closed(),
            ] {
                let (events, error) = streamed(reply).await;
                assert!(error.is_none(), "{error:?} in {text:?}");
                let [
                    StreamEvent::Progress(progress),
                    StreamEvent::Decision(decision),
                ] = &events[..]
                else {
                    panic!("{events:?} in {text:?}");
                };
                assert_eq!(progress.stage, "policies");
                assert_eq!(
                    (
                        decision.decision,
                        decision.permit_token.as_ref(),
                        decision.is_final
                    ),
                    (Decision::Allow, Some(&token()), true)
                );
            }
        }
    }
}

#[tokio::test]
async fn a_stream_without_an_end_is_an_error() {
    let start = "event: progress\ndata: {\"stage\":\"a\"}\n\n";
    let open =
        format!("event: decision\ndata: {{\"permitted\":true,\"decision_id\":\"{TOKEN}\"}}\n\n");
    let done = "event: done\ndata: {}\n\n";
    for (text, events, code) in [
        (String::new(), 0, Some(Code::BadResponse)),
        (start.to_owned(), 1, Some(Code::BadResponse)),
        (open.clone(), 1, Some(Code::BadResponse)),
        (format!("{open}{done}"), 1, None),
        (format!("{start}{done}"), 1, None),
        // The event is not complete without its empty line.
        (
            format!("{start}event: done\ndata: {{}}\n"),
            1,
            Some(Code::BadResponse),
        ),
        (format!("{done}{open}"), 0, None),
    ] {
        let (read, error) = streamed(sse(&*text)).await;
        assert_eq!(
            (read.len(), error.and_then(|error| error.code())),
            (events, code),
            "{text:?}"
        );
    }
    for fault in [Fault::Reset, Fault::Close, Fault::Stall] {
        let server =
            Server::start(move |_: &Request| sse(genuine::stream()).fault(fault, At::InBody));
        let client = client(server.url()).timeout(ms(1000)).build().unwrap();
        let results: Vec<_> = client.evaluate_stream(&question()).collect().await;
        let code = results.last().unwrap().as_ref().unwrap_err().code();
        let expected = if fault == Fault::Stall {
            Code::Timeout
        } else {
            Code::Network
        };
        assert_eq!(code, Some(expected), "{fault:?}");
        assert_eq!(
            server.requests().len(),
            1,
            "what has begun is not begun again"
        );
    }
}

#[tokio::test]
async fn a_malformed_stream_is_not_an_allow() {
    let done = "event: done\ndata: {}\n\n";
    for data in [
        "{}",
        "{\"reason\":\"r\"}",
        "{\"permitted\":\"true\",\"decision_id\":\"p\"}",
        "{\"permitted\":1}",
        "{\"decision\":\"ALLOW\",\"decision_id\":\"p\"}",
        "{\"decision\":\"deny\",\"permitted\":true,\"decision_id\":\"p\"}",
        "{\"permitted\":true,\"is_final\":true}",
        "{\"permitted\":true,\"decision_id\":\"\",\"is_final\":true}",
        "[true]",
        "true",
        "not json",
        "{\"permitted\":false,\"permitted\":true,\"decision_id\":\"p\"}",
    ] {
        let (events, error) =
            streamed(sse(format!("event: decision\ndata: {data}\n\n{done}"))).await;
        assert!(events.is_empty(), "{data}: {events:?}");
        assert_eq!(error.unwrap().code(), Some(Code::BadResponse), "{data}");
    }
}

#[tokio::test]
async fn an_error_event_is_an_error_and_what_is_unknown_is_passed_over() {
    let said = json!({"code": "rate_limited", "message": "slow down", "request_id": "q"});
    let (events, error) = streamed(sse(format!(
        "event: error\ndata: {said}\n\n{}",
        genuine::stream()
    )))
    .await;
    assert!(events.is_empty());
    let error = error.unwrap();
    assert_eq!(error.failure().unwrap().message(), "slow down");
    assert!(error.failure().unwrap().request_id().is_some());

    let (events, error) = streamed(sse(format!(
        ": hello\n\nevent: heartbeat\ndata: x\n\nid: 7\nretry: 1\ndata: no name\n\n{}event: decision\ndata: x\n\n",
        genuine::stream()
    )))
    .await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events.len(), 2, "what follows the end is not heard");
}

#[tokio::test]
async fn a_stream_that_does_not_begin_fails_as_every_call_does() {
    for (status, code) in [
        (401, Code::InvalidApiKey),
        (403, Code::Forbidden),
        (429, Code::RateLimited),
        (400, Code::BadRequest),
        (302, Code::BadResponse),
        (500, Code::ServerError),
    ] {
        let (events, error) =
            streamed(Reply::bytes(status, "text/event-stream", genuine::stream())).await;
        let error = error.unwrap();
        assert!(events.is_empty());
        assert_eq!(
            (error.code(), error.failure().unwrap().status()),
            (Some(code), Some(status))
        );
    }
}

#[tokio::test]
async fn a_stream_is_bounded() {
    let line = format!("data: {}", "x".repeat(2 * 1024 * 1024));
    let event = "data: x\n".repeat(1024 * 1024);
    for text in [line, event] {
        let (events, error) = streamed(sse(text).chunked(100_000)).await;
        assert!(events.is_empty());
        assert_eq!(error.unwrap().code(), Some(Code::BadResponse));
    }
    let server = Server::start(|_: &Request| sse(": nothing\n".repeat(1000)));
    let client = client(server.url()).stream_limit(9999).build().unwrap();
    let results: Vec<_> = client.evaluate_stream(&question()).collect().await;
    let error = results[0].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(Code::BadResponse));
    assert!(
        error
            .to_string()
            .contains("the stream has more than 9999 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_is_waited_for_without_async_too() {
    let server = genuine::server();
    let client = blocking::Client::from(client(server.url()).build().unwrap());
    let events: Result<Vec<_>, _> = client.evaluate_stream(&question()).collect();
    assert_eq!(events.unwrap().len(), 2);
}
