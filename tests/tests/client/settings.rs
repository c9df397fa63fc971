//! The settings of a client apply as documented, or the client is not built. No setting
//! forwards a secret.

use std::time::Duration;

use atlasent::client::ClientBuilder;
use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::{AnyAction, AuthorityExt, Client, Error, blocking};
use atlasent_tests::http::plain;
use atlasent_tests::server::{Reply, Request, Server};
use reqwest::Proxy;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::retry::for_host;

use crate::cases::{ACTION, AGENT, Call};
use crate::genuine;
use crate::support::{KEY, client, question};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn action() -> AnyAction {
    AnyAction::new(ACTION).unwrap()
}

/// Returns how long a client waits after a `Retry-After` of this many seconds.
async fn waits(after: u64, set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Vec<Duration> {
    let server = Server::start(move |_: &Request| {
        Reply::status(503).header("retry-after", after.to_string())
    });
    let time = VirtualTime::new();
    let builder = Client::builder()
        .api_key(KEY)
        .base_url(server.url())
        .virtual_time(&time);
    let client = set(builder).build().unwrap();
    client.evaluate(&question()).await.unwrap_err();
    let waiting = blocking::Client::from(client);
    tokio::task::spawn_blocking(move || waiting.evaluate(&question()).unwrap_err())
        .await
        .unwrap();
    let waits = time.waits();
    // The async client has the same limits.
    let (first, second) = waits.split_at(waits.len() / 2);
    assert_eq!(first, second);
    first.to_vec()
}

#[tokio::test]
async fn a_timeout_above_the_default_deadline_raises_it() {
    assert!(waits(35, |builder| builder).await.is_empty());
    assert_eq!(
        waits(35, |builder| builder.timeout(secs(60))).await,
        [secs(35), secs(35)]
    );
    assert_eq!(
        waits(100, |builder| builder.timeout(secs(60))).await,
        [secs(100)]
    );
    let too_late = waits(182, |builder| builder.timeout(secs(60))).await;
    assert!(too_late.is_empty(), "{too_late:?}");
}

#[tokio::test]
async fn retries_and_waits_that_are_asked_for_all_have_their_time() {
    let sets: [fn(ClientBuilder) -> ClientBuilder; 4] = [
        |builder| builder.max_retries(9),
        |builder| builder.max_retries(9).retry_backoff(secs(16)),
        |builder| builder.max_retries(9).timeout(secs(1)),
        |builder| {
            builder
                .max_retries(9)
                .retry_backoff(secs(16))
                .timeout(secs(1))
        },
    ];
    for set in sets {
        // Virtual time waits at most as long as real time may.
        assert_eq!(waits(0, set).await.len(), 9);
    }
}

#[test]
fn limits_that_contradict_each_other_are_an_error_in_either_order() {
    let builder = || Client::builder().api_key(KEY);
    for both in [
        builder().timeout(secs(60)).deadline(secs(30)),
        builder().deadline(secs(30)).timeout(secs(60)),
    ] {
        let Err(Error::Config(why)) = both.build() else {
            panic!("a timeout that cannot be had was accepted");
        };
        let why = why.message();
        assert!(why.contains("60s") && why.contains("30s"), "{why}");
    }
    // A second call replaces the first.
    let mended = builder()
        .timeout(secs(60))
        .deadline(secs(30))
        .timeout(secs(30));
    assert!(mended.build().is_ok());
    assert!(builder().deadline(secs(1)).build().is_ok());
}

/// A redirect status: it keeps the method and the body (307, 308), or continues as GET.
#[tokio::test]
async fn settings_that_follow_redirects_send_no_secret_on() {
    for status in [301, 302, 303, 307, 308] {
        for call in Call::BOTH {
            let other = genuine::server();
            let to = format!("{}{}", other.url(), call.path());
            let server = Server::start(move |request: &Request| match request.path() {
                path if path == call.path() => {
                    Reply::json(status, call.yes()).header("location", &to)
                }
                _ => genuine::reply(request),
            });
            for policy in [
                Policy::default(),
                Policy::limited(5),
                Policy::custom(|attempt| attempt.follow()),
            ] {
                let settings = plain().redirect(policy);
                let client = client(server.url()).http_client(settings).build().unwrap();
                let error = client.protect(AGENT, action()).await.unwrap_err();
                assert_eq!(error.code(), Some(Code::BadResponse), "{status} {call:?}");
                assert_eq!(error.failure().unwrap().status(), Some(status));
            }
            assert!(other.requests().is_empty(), "{status} {call:?}");
            assert_eq!(other.accepted(), 0, "{status} {call:?}");
        }
    }
}

#[tokio::test]
async fn settings_that_retry_send_no_verification_twice() {
    let server = Server::start(|request: &Request| match request.path() {
        "/v1-evaluate" => genuine::reply(request),
        _ => Reply::status(400),
    });
    let again = for_host("127.0.0.1")
        .no_budget()
        .classify_fn(|answer| answer.retryable());
    let client = client(server.url())
        .http_client(plain().retry(again))
        .build()
        .unwrap();
    let error = client.protect(AGENT, action()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::BadRequest));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn settings_with_a_proxy_do_not_lead_plain_http_off_this_machine() {
    let (server, proxy) = (genuine::server(), genuine::server());
    let settings = plain().proxy(Proxy::all(proxy.url()).unwrap());
    let client = client(server.url()).http_client(settings).build().unwrap();
    drop(client.protect(AGENT, action()).await.unwrap());
    assert_eq!((server.requests().len(), proxy.accepted()), (2, 0));
}

#[tokio::test]
async fn a_second_http_client_replaces_the_first() {
    let with = |name: &'static str| {
        let header = (HeaderName::from_static(name), HeaderValue::from_static("1"));
        plain().default_headers(HeaderMap::from_iter([header]))
    };
    let server = genuine::server();
    let client = client(server.url())
        .http_client(with("x-first"))
        .http_client(with("x-second"))
        .build()
        .unwrap();
    client.evaluate(&question()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.header("x-first"), None);
    assert_eq!(request.header("x-second"), Some("1"));
}

#[test]
fn a_password_in_a_base_url_is_refused_and_shown_nowhere() {
    for url in [
        "https://user:hunter2@atlasent.example.com",
        "https://hunter2@atlasent.example.com",
        "https://atlasent.example.com/?token=hunter2",
        "https://user:hunter2",
        "user:hunter2@atlasent.example.com",
    ] {
        let builder = Client::builder().api_key(KEY).base_url(url);
        let shown = format!("{builder:?} {builder:#?}");
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::Config(_)));
        let shown = format!("{shown} {error} {error:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("0123456789"),
            "{shown}"
        );
    }
}
