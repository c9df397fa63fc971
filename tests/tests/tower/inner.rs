//! The inner service of the layers under test. It records its requests and panics on a call before
//! it was ready.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

pub(crate) type Body = Full<Bytes>;
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Broken>> + Send>>;
type Handler = dyn Fn(Request<Body>) -> Answering + Send + Sync;

/// The error of an inner service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// An inner service that is as strict as one that reserves something in `poll_ready`: it accepts
/// one call each time that it was ready, and a clone is not ready because its original is
/// (tower-service, "Be careful when cloning inner services").
pub(crate) struct Inner {
    seen: Arc<Mutex<Vec<Parts>>>,
    handler: Arc<Handler>,
    ready: bool,
}

impl Inner {
    /// Returns a service that answers with 200 and `ran`.
    pub(crate) fn new() -> Self {
        Self::answering(|_| Ok(Response::new("ran".into())))
    }

    /// Returns a service that answers with this status.
    pub(crate) fn with_status(status: StatusCode) -> Self {
        Self::answering(move |_| {
            let mut response = Response::new(Body::default());
            *response.status_mut() = status;
            Ok(response)
        })
    }

    /// Returns a service whose responses are ready at once.
    pub(crate) fn answering(
        answer: impl Fn(Request<Body>) -> Result<Response<Body>, Broken> + Send + Sync + 'static,
    ) -> Self {
        Self::running(move |request| {
            let answer = answer(request);
            Box::pin(async { answer })
        })
    }

    /// Returns a service that answers when the future of the handler ends.
    pub(crate) fn running(
        handler: impl Fn(Request<Body>) -> Answering + Send + Sync + 'static,
    ) -> Self {
        Self {
            seen: Arc::default(),
            handler: Arc::new(handler),
            ready: false,
        }
    }

    /// Returns the requests of all calls, in order, including calls of clones.
    pub(crate) fn seen(&self) -> Vec<Parts> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the number of calls.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Returns the number of clones, including this one.
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.seen)
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            seen: Arc::clone(&self.seen),
            handler: Arc::clone(&self.handler),
            ready: false,
        }
    }
}

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Broken;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        assert!(mem::take(&mut self.ready), "called before it was ready");
        let (parts, body) = request.into_parts();
        self.seen.lock().unwrap().push(parts.clone());
        (self.handler)(Request::from_parts(parts, body))
    }
}
