//! Any bytes as a body, headers, a response head or stream events: no panic, and no body runs.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use atlasent::client::EventFilter;
use atlasent::testing::VirtualTime;
use atlasent::wire::{PermitToken, VerifyRequest};
use atlasent::{AnyAction, AuthorityExt, Client, Decision, Error};
use atlasent_tests::Ran;
use atlasent_tests::server::{At, Fault, Reply, Request, Server, unscripted};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use tokio::runtime::{Builder, Runtime};

use crate::cases::{ACTION, AGENT, Call, TOKEN};
use crate::genuine;
use crate::support::{client, question};

const CASES: u32 = 256;

/// A server that repeats one response until it gets another.
struct Parrot {
    server: Server,
    says: Arc<Mutex<Reply>>,
    /// The calls that still get valid responses.
    spared: Arc<Mutex<Option<Call>>>,
    runtime: Runtime,
}

impl Parrot {
    fn new() -> Self {
        let says = Arc::new(Mutex::new(unscripted()));
        let spared: Arc<Mutex<Option<Call>>> = Arc::default();
        let server = Server::start({
            let (says, spared) = (Arc::clone(&says), Arc::clone(&spared));
            move |request: &Request| match *spared.lock().unwrap() {
                Some(call) if call.path() == request.path() => genuine::reply(request),
                _ => says.lock().unwrap().clone(),
            }
        });
        Self {
            server,
            says,
            spared,
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn teach(&self, reply: Reply) {
        *self.says.lock().unwrap() = reply;
    }

    fn client(&self) -> Client {
        client(self.server.url())
            .virtual_time(&VirtualTime::new())
            .build()
            .unwrap()
    }

    /// Protects a body, with a valid response to one call and the set response to the other.
    /// Returns how often the body ran.
    fn protect(&self, well: Option<Call>) -> (usize, Result<(), Error>) {
        *self.spared.lock().unwrap() = well;
        let (client, ran) = (self.client(), Ran::new());
        let action = AnyAction::new(ACTION).unwrap();
        let result = self
            .runtime
            .block_on(client.with_permit(AGENT, action, async |_| {
                ran.hit();
                Ok(())
            }));
        *self.spared.lock().unwrap() = None;
        (ran.count(), result)
    }

    /// Makes every other call. None of the calls may panic, and most must not succeed.
    fn every_call(&self) -> Vec<Result<(), Error>> {
        let client = self.client();
        let token = PermitToken::new(TOKEN).unwrap();
        self.runtime.block_on(async {
            vec![
                client.evaluate(&question()).await.map(|evaluation| {
                    assert!(
                        evaluation.decision != Decision::Allow || evaluation.permit_token.is_some()
                    );
                }),
                client.evaluate_preflight(&question()).await.map(drop),
                client
                    .verify(&VerifyRequest::new(token.clone()))
                    .await
                    .map(drop),
                client.revoke_permit(&token, "").await.map(drop),
                client.key_self().await.map(drop),
                client.signing_keys().await.map(drop),
                client.audit_events(&EventFilter::default()).await.map(drop),
                client.audit_export(&EventFilter::default()).await.map(drop),
                client
                    .evaluate_stream(&question())
                    .try_collect::<Vec<_>>()
                    .await
                    .map(drop),
            ]
        })
    }
}

/// Returns whether these bytes allow this call, checked independently of the code under test.
fn says_yes(call: Call, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let Ok(serde_json::Value::Object(said)) = serde_json::from_str(&text) else {
        return false;
    };
    let is = |key: &str| said.get(key) == Some(&serde_json::Value::Bool(true));
    match call {
        Call::Evaluate => {
            said.get("decision").and_then(|word| word.as_str()) == Some("allow") || is("permitted")
        }
        Call::Verify => is("valid") || is("verified"),
    }
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

/// Generates bytes, JSON of any kind, and valid responses with a few changed bytes.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let good = select(vec![
        Call::Evaluate.yes().to_string(),
        Call::Verify.yes().to_string(),
        genuine::key().to_string(),
        genuine::export().to_string(),
        genuine::page(&[1], Some("c")).to_string(),
        genuine::stream(),
    ]);
    let changes = prop::collection::vec((any::<Index>(), any::<u8>(), 0_u8..4), 0..3);
    let changed = (good, changes).prop_map(|(good, changes)| {
        let mut bytes = good.into_bytes();
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => _ = bytes.remove(at),
                _ => bytes.truncate(at),
            }
        }
        bytes
    });
    let words = select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "true",
        "false",
        "1e999",
        "-0",
        "\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"decision\"",
        "\"allow\"",
        "\"permit_token\"",
        "\"valid\"",
        "\"permitted\"",
        "\"p\"",
        " ",
        "\u{feff}",
        "\n\n",
        "data: ",
        "event: decision\n",
        "event: done\n",
    ]);
    let soup = prop::collection::vec(words, 0..20).prop_map(|words| words.concat().into_bytes());
    let wild = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![1 => wild, 4 => changed, 1 => soup]
}

#[test]
fn any_body_is_an_error_or_an_answer_and_no_body_runs_for_what_says_no() {
    let parrot = Parrot::new();
    let ran = Cell::new(0);
    let result = runner().run(
        &(
            bodies(),
            select(vec![200_u16, 200, 200, 201, 302, 400, 500]),
        ),
        |(body, status)| {
            parrot.teach(Reply::bytes(status, "application/json", body.clone()));
            for call in Call::BOTH {
                let well = if call == Call::Evaluate {
                    Call::Verify
                } else {
                    Call::Evaluate
                };
                let (count, result) = parrot.protect(Some(well));
                prop_assert_eq!(count == 1, result.is_ok());
                prop_assert!(
                    count == 0 || (status < 300 && says_yes(call, &body)),
                    "{:?} {:?}",
                    call,
                    body
                );
                ran.set(ran.get() + count);
            }
            let (count, _) = parrot.protect(None);
            prop_assert!(
                count == 0 || (says_yes(Call::Evaluate, &body) && says_yes(Call::Verify, &body))
            );
            parrot.every_call();
            Ok(())
        },
    );
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        ran.get() > 0,
        "nothing was ever allowed: the bodies are too wild"
    );
}

/// Generates valid and invalid header values.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(
        any::<u8>().prop_filter("no line end", |byte| !b"\r\n".contains(byte)),
        0..40,
    );
    let known = select(vec![
        "",
        "0",
        "1",
        "-1",
        "1e9",
        "99999999999999999999",
        "NaN",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "2026-01-01T00:00:00Z",
        "identity",
        "gzip",
        "chunked",
        "close",
        "keep-alive, upgrade",
        "text/event-stream",
        "http://127.0.0.1:1/",
        "\u{2028}",
    ]);
    prop_oneof![any, known.prop_map(|text| text.as_bytes().to_vec())]
}

#[test]
fn no_headers_cause_a_panic_or_an_allow() {
    let parrot = Parrot::new();
    let names = select(vec![
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "content-encoding",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "location",
        "set-cookie",
        "upgrade",
        "x-request-id",
        "trailer",
    ]);
    let headers = prop::collection::vec((names, value()), 0..8);
    let statuses = select(vec![200_u16, 204, 301, 401, 403, 429, 500, 503]);
    let result = runner().run(&(headers, statuses), |(headers, status)| {
        for (body, says) in [
            (Call::Evaluate.yes().to_string(), true),
            (r#"{"decision":"deny","valid":false}"#.to_owned(), false),
        ] {
            let reply = headers
                .iter()
                .fold(Reply::json(status, body), |reply, (name, value)| {
                    reply.header(name, value)
                });
            // A client that waits for more bytes sees the end of the connection.
            parrot.teach(reply.fault(Fault::Close, At::End));
            let (count, _) = parrot.protect(Some(Call::Verify));
            prop_assert!(count == 0 || (status == 200 && says), "{:?}", headers);
            parrot.every_call();
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn any_bytes_instead_of_http_are_an_error() {
    let parrot = Parrot::new();
    // Every response lacks its last brace, so it is incomplete wherever it is taken to end.
    let yes = Call::Evaluate.yes().to_string();
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
        yes.len(),
        &yes[..yes.len() - 1]
    );
    let start = (0..whole.len()).prop_map({
        let whole = whole.clone();
        move |at| whole.as_bytes()[..at].to_vec()
    });
    let changed = (0..whole.len(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = byte;
        bytes
    });
    let wild = prop::collection::vec(any::<u8>(), 0..300);
    let result = runner().run(&prop_oneof![start, changed, wild], |bytes| {
        parrot.teach(Reply::raw(bytes.clone()));
        let (count, result) = parrot.protect(Some(Call::Verify));
        prop_assert!(
            count == 0 && result.is_err(),
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
        for result in parrot.every_call() {
            prop_assert!(result.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
