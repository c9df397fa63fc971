//! A call that is dropped, at any stage, runs nothing and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use atlasent::client::EventFilter;
use atlasent::{AnyAction, AuthorityExt, Client, Error, protect};
use atlasent_tests::Ran;
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use futures_util::StreamExt;

use crate::cases::{ACTION, AGENT, Call};
use crate::genuine;
use crate::paths::async_paths;
use crate::support::{client, http2_client, ms, question};

#[protect(action = "stall", agent = "deploy-bot", authority = authority)]
async fn deploy(authority: &Client, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

/// Returns valid responses, except for the fault of the `stage`.
fn server(
    http2: bool,
    stage: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    let script = move |request: &Request| stage(request).unwrap_or_else(|| genuine::reply(request));
    match http2 {
        true => Server::start_http2(script),
        false => Server::start(script),
    }
}

fn client_of(server: &Server, http2: bool) -> Client {
    match http2 {
        true => http2_client(server.url()),
        false => client(server.url()),
    }
    .build()
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_while_it_waits_for_bytes_runs_nothing_and_ends_at_the_server() {
    for http2 in [false, true] {
        for call in Call::BOTH {
            for at in [At::Start, At::InHead, At::Body, At::InBody] {
                for (path, ask) in async_paths::<Client>() {
                    let server = server(http2, move |request| {
                        let stalls = request.path() == call.path() && request.attempt == 1;
                        stalls.then(|| genuine::reply(request).fault(Fault::Stall, at))
                    });
                    let (client, ran) = (client_of(&server, http2), Arc::new(Ran::new()));
                    let task = tokio::spawn({
                        let (client, ran) = (client.clone(), Arc::clone(&ran));
                        async move { ask(&client, &ran).await }
                    });
                    let about = format!("{path}, {call:?} {at:?}, HTTP/2: {http2}");
                    let asked = if call == Call::Evaluate { 1 } else { 2 };
                    assert!(
                        server.comes_to(
                            |server| server.requests().len() == asked && server.busy() == 1
                        ),
                        "{about}"
                    );
                    task.abort();
                    assert!(task.await.unwrap_err().is_cancelled(), "{about}");
                    assert!(server.comes_to(|server| server.busy() == 0), "{about}");
                    assert_eq!(ran.count(), 0, "{about}");
                    ask(&client, &ran).await.unwrap();
                    assert_eq!(ran.count(), 1, "{about}");
                    drop(client);
                    assert!(server.comes_to(|server| server.open() == 0), "{about}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_between_its_attempts_asks_no_more() {
    for call in Call::BOTH {
        let server = server(false, move |request| {
            (request.path() == call.path()).then(|| Reply::status(503))
        });
        // The first wait is longer than this test.
        let client = client(server.url())
            .max_retries(5)
            .retry_backoff(Duration::from_secs(16))
            .build()
            .unwrap();
        let ran = Ran::new();
        let asked = if call == Call::Evaluate { 1 } else { 2 };
        tokio::select! {
            biased;
            result = deploy(&client, &ran) => panic!("{result:?}"),
            () = async {
                while server.requests().len() < asked || server.busy() > 0 {
                    tokio::time::sleep(ms(1)).await;
                }
            } => {}
        }
        tokio::time::sleep(ms(20)).await;
        assert_eq!(
            (server.requests().len(), ran.count()),
            (asked, 0),
            "{call:?}"
        );
    }
}

/// Polls a call a number of times and drops it, for every number up to the one that completes the
/// call.
#[tokio::test]
async fn a_call_may_be_dropped_at_any_of_its_polls() {
    let server = server(false, |request| {
        Some(genuine::reply(request).chunked(5).pieces(11))
    });
    let client = client_of(&server, false);
    let mut dropped = 0;
    loop {
        let ran = Ran::new();
        let mut call = Box::pin(deploy(&client, &ran));
        let mut polls = 0;
        let ended = std::future::poll_fn(|context| {
            if polls > dropped {
                return std::task::Poll::Ready(None);
            }
            polls += 1;
            call.as_mut().poll(context).map(Some)
        })
        .await;
        drop(call);
        match ended {
            Some(result) => {
                result.unwrap();
                assert_eq!(ran.count(), 1);
                break;
            }
            None => assert_eq!(ran.count(), 0, "after {polls} polls"),
        }
        dropped += 1;
    }
    assert!(dropped > 2, "it was dropped {dropped} times");
    let permits = futures_util::future::join_all(
        (0..8).map(|_| client.protect(AGENT, AnyAction::new(ACTION).unwrap())),
    );
    assert!(permits.await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_may_be_dropped_halfway() {
    let server = server(false, |request| match request.path() {
        "/v1-evaluate-stream" => Some(genuine::reply(request).fault(Fault::Stall, At::InBody)),
        _ => None,
    });
    let client = client_of(&server, false);
    for _ in 0..3 {
        let mut events = Box::pin(client.evaluate_stream(&question()));
        events.next().await.unwrap().unwrap();
        assert_eq!(server.busy(), 1);
        drop(events);
        assert!(server.comes_to(|server| server.busy() == 0));
        let mut pages = Box::pin(client.audit_event_stream(EventFilter::default()));
        pages.next().await.unwrap().unwrap();
        drop(pages);
    }
    drop(client);
    assert!(server.comes_to(|server| server.open() == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_that_are_dropped_leave_no_connection_behind() {
    let server = server(false, |request| match request.text().contains("stall") {
        true => Some(Reply::status(200).fault(Fault::Stall, At::Start)),
        false => None,
    });
    let client = client_of(&server, false);
    let ran = Ran::new();
    for _ in 0..5 {
        let calls = futures_util::future::join_all((0..20).map(|_| deploy(&client, &ran)));
        let all_wait = async {
            while server.busy() < 20 {
                tokio::time::sleep(ms(1)).await;
            }
        };
        tokio::select! {
            results = calls => panic!("{results:?}"),
            () = all_wait => {}
        }
        assert!(server.comes_to(|server| server.busy() + server.open() == 0));
    }
    assert_eq!(ran.count(), 0);
    drop(
        client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap(),
    );
}
