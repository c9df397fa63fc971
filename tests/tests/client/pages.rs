//! The audit trail: single pages, all pages in turn, and exports.

use atlasent::client::EventFilter;
use atlasent::error::Code;
use atlasent::{Client, blocking};
use atlasent_tests::server::{Reply, Request, Server};
use futures_util::{StreamExt, TryStreamExt};

use crate::genuine;
use crate::support::{client, saying};

#[tokio::test]
async fn an_export_is_kept_byte_for_byte_and_has_a_limit_of_its_own() {
    let export = genuine::export().to_string();
    let odd = format!(
        " \n{}",
        export.replace("\"events\":", "\"événements\" : 1.50 , \"events\":\t")
    );
    let large = format!("{export}{}", " ".repeat(2 * 1024 * 1024));
    let (client, server) = saying([
        Reply::json(200, &odd),
        Reply::json(200, &large).chunked(100_000),
    ]);
    for expected in [&odd, &large] {
        let answer = client.audit_export(&EventFilter::default()).await.unwrap();
        assert_eq!(answer.bundle, expected.as_bytes());
        assert_eq!((&*answer.export_id, &*answer.chain_head_hash), ("x", "b"));
    }
    drop(server);
    let server = Server::start(move |_: &Request| Reply::json(200, &large));
    for (limit, fits) in [
        (2 * 1024 * 1024 + export.len(), true),
        (2 * 1024 * 1024 + export.len() - 1, false),
    ] {
        let client = crate::support::client(server.url())
            .export_limit(limit)
            .build()
            .unwrap();
        let code = client
            .audit_export(&EventFilter::default())
            .await
            .err()
            .map(|error| error.code());
        assert_eq!(code, (!fits).then_some(Some(Code::BadResponse)));
    }
}

/// Returns a client of a server with these pages, each with the cursor of the next.
fn pages(
    script: impl Fn(&str) -> (Vec<u64>, Option<String>) + Send + Sync + 'static,
) -> (Client, Server) {
    let server = Server::start(move |request: &Request| {
        let cursor = request
            .query()
            .and_then(|query| query.strip_prefix("cursor="))
            .unwrap_or_default();
        let (events, next) = script(cursor);
        Reply::json(200, genuine::page(&events, next.as_deref()))
    });
    let client = client(server.url()).build().unwrap();
    (client, server)
}

#[tokio::test]
async fn a_stream_of_events_goes_through_all_pages() {
    let script = |cursor: &str| match cursor {
        "" => (vec![1, 2], Some("b".to_owned())),
        "b" => (vec![], Some("c".to_owned())),
        "c" => (vec![3], Some("d".to_owned())),
        _ => (vec![4, 5], Some(String::new())),
    };
    let (client, server) = pages(script);
    let events = client
        .audit_event_stream(EventFilter::default())
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let sequences: Vec<_> = events.iter().map(|event| event.envelope.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert_eq!(server.requests().len(), 4);

    let (client, server) = pages(script);
    let waited = tokio::task::spawn_blocking(move || {
        let client = blocking::Client::from(client);
        client
            .audit_event_stream(EventFilter::default())
            .map(|event| event.unwrap().envelope.sequence)
            .collect::<Vec<_>>()
    });
    assert_eq!(
        (waited.await.unwrap(), server.requests().len()),
        (sequences, 4)
    );
}

#[tokio::test]
async fn a_page_is_fetched_when_its_first_event_is_taken() {
    let (client, server) = pages(|cursor| (vec![1], Some(format!("{cursor}x"))));
    let mut events = std::pin::pin!(client.audit_event_stream(EventFilter::default()));
    assert_eq!(server.requests().len(), 0);
    for n in 1..4 {
        events.next().await.unwrap().unwrap();
        assert_eq!(server.requests().len(), n);
    }
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_end_with_an_error() {
    for circle in [["a", "a"], ["a", "b"]] {
        for events in [vec![], vec![1]] {
            let (client, server) = pages(move |cursor| {
                let next = if cursor == circle[0] {
                    circle[1]
                } else {
                    circle[0]
                };
                (events.clone(), Some(next.to_owned()))
            });
            let results: Vec<_> = client
                .audit_event_stream(EventFilter::default())
                .collect()
                .await;
            let (last, before) = results.split_last().unwrap();
            assert_eq!(last.as_ref().unwrap_err().code(), Some(Code::BadResponse));
            assert!(before.iter().all(Result::is_ok));
            assert!(server.requests().len() <= 4);
        }
    }
}

#[tokio::test]
async fn an_error_among_the_pages_ends_the_stream() {
    let (client, _server) = saying([
        Reply::json(200, genuine::page(&[1, 2], Some("b"))),
        Reply::json(403, "{}"),
    ]);
    let results: Vec<_> = client
        .audit_event_stream(EventFilter::default())
        .collect()
        .await;
    assert_eq!(results.len(), 3);
    assert_eq!(
        results[2].as_ref().unwrap_err().code(),
        Some(Code::Forbidden)
    );
}
