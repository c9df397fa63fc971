//! Sends requests through a service and reads the responses.

use std::convert::Infallible;
use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Service, ServiceExt};

use crate::inner::Body;

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: http::Extensions,
    pub(crate) body: Bytes,
}

/// Sends a request, and reads the whole response.
pub(crate) async fn ask<S, R>(service: S, request: Request<Body>) -> Result<Answer, S::Error>
where
    S: Service<Request<Body>, Response = Response<R>>,
    R: BodyExt<Data = Bytes, Error = Infallible>,
{
    let response = service.oneshot(request).await?;
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        extensions: parts.extensions,
        body: body.to_bytes(),
    })
}

/// Sends a request to a service that does not fail.
pub(crate) fn send<S, R>(service: S, request: Request<Body>) -> Answer
where
    S: Service<Request<Body>, Response = Response<R>>,
    S::Error: Debug,
    R: BodyExt<Data = Bytes, Error = Infallible>,
{
    futures_executor::block_on(ask(service, request)).unwrap()
}

impl Answer {
    /// Returns the value of a header, which must not be repeated.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "twice: {self:?}");
        Some(value.to_str().unwrap())
    }

    /// Returns the members of the problem details, which must be well-formed (RFC 9457).
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(
            self.header(header::CONTENT_TYPE),
            Some("application/problem+json")
        );
        assert_eq!(self.header(header::CACHE_CONTROL), Some("no-store"));
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        assert!(problem["detail"].is_string(), "{problem}");
        problem
    }

    /// Asserts that this is a refusal with this status, whose detail contains `detail`.
    pub(crate) fn expect_refusal(&self, status: u16, detail: &str, case: &str) {
        assert_eq!(self.status.as_u16(), status, "{case}: {self:?}");
        let problem = self.problem();
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains(detail), "{case}: `{detail}` is not in {told}");
    }
}
