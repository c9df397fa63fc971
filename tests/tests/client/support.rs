//! Clients for these tests.

use std::time::Duration;

use atlasent::client::ClientBuilder;
use atlasent::error::Failure;
use atlasent::testing::VirtualTime;
use atlasent::wire::{EvaluateRequest, PermitToken};
use atlasent::{Agent, AnyAction, Client, Error};
use atlasent_tests::http::plain;
use atlasent_tests::server::{Reply, Request, Server, in_order};
use serde_json::Value;

use crate::cases::{ACTION, AGENT, TOKEN};

pub(crate) const KEY: &str = "ask_test_0123456789";

/// The largest answer that the client reads, and the largest one with a list, in bytes.
pub(crate) const LIMIT: usize = 1024 * 1024;
pub(crate) const LIST_LIMIT: usize = 32 * LIMIT;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Returns a client of this server, with timeouts for a loaded machine.
pub(crate) fn client(url: &str) -> ClientBuilder {
    Client::builder()
        .api_key(KEY)
        .base_url(url)
        .timeout(ms(60_000))
        .deadline(ms(600_000))
}

/// Returns a client of a server that uses HTTP/2.
pub(crate) fn http2_client(url: &str) -> ClientBuilder {
    client(url).http_client(plain().http2_prior_knowledge())
}

/// The smallest evaluate request.
pub(crate) fn question() -> EvaluateRequest {
    let action = AnyAction::new(ACTION).unwrap();
    EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action).unwrap()
}

/// Starts a server with these responses in order. Returns a client of it, and the server.
pub(crate) fn saying(replies: impl IntoIterator<Item = Reply>) -> (Client, Server) {
    let server = Server::start(in_order(replies.into_iter().collect::<Vec<_>>()));
    let client = client(server.url())
        .virtual_time(&VirtualTime::new())
        .build()
        .unwrap();
    (client, server)
}

pub(crate) fn token() -> PermitToken {
    PermitToken::new(TOKEN).unwrap()
}

/// Returns the bodies of the requests for this path, in their order.
pub(crate) fn bodies(server: &Server, path: &str) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.path() == path)
        .map(|request| request.text().to_owned())
        .collect()
}

pub(crate) fn failure(error: &Error) -> &Failure {
    error.failure().unwrap_or_else(|| panic!("{error:?}"))
}

/// Sends one evaluate request, whose attempts all get this response.
pub(crate) async fn always(reply: Reply) -> (Error, Vec<Request>, VirtualTime) {
    let server = Server::start(move |_: &Request| reply.clone());
    let time = VirtualTime::new();
    let client = client(server.url()).virtual_time(&time).build().unwrap();
    let error = client.evaluate(&question()).await.unwrap_err();
    (error, server.requests(), time)
}

/// Returns a body as JSON, or null for an empty one.
pub(crate) fn json_of(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap(),
    }
}
