//! Sends requests of clients and reads the responses.

use std::net::SocketAddr;
use std::time::Duration;

use atlasent_tests::http::plain;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use reqwest::Client;
use reqwest::retry::never;
use serde_json::Value;

/// Both versions of HTTP, with their names in failures.
pub(crate) const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// Builds a client that speaks this version and sends each request once.
pub(crate) fn client(version: Version) -> Client {
    let client = plain().retry(never()).timeout(Duration::from_secs(20));
    let client = match version {
        Version::HTTP_2 => client.http2_prior_knowledge(),
        _ => client.http1_only(),
    };
    client.build().unwrap()
}

/// Creates a request without a body, with this token.
pub(crate) fn asking(method: Method, path: &str, token: Option<&str>) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(path);
    let request = match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    request.body(Bytes::new()).unwrap()
}

/// Sends a request, and reads the whole response.
pub(crate) async fn send(
    client: &Client,
    address: SocketAddr,
    request: Request<Bytes>,
) -> Result<Answer, reqwest::Error> {
    let (parts, body) = request.into_parts();
    let url = format!("http://{address}{}", parts.uri);
    let request = client.request(parts.method, url).headers(parts.headers);
    let response = request.body(body).send().await?;
    Ok(Answer {
        status: response.status(),
        version: response.version(),
        headers: response.headers().clone(),
        body: response.bytes().await?,
    })
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Returns the value of a header, which must not be repeated.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "twice: {self:?}");
        Some(value.to_str().unwrap())
    }

    /// Returns the members of the problem details, which must be well-formed (RFC 9457) and have
    /// this status.
    pub(crate) fn problem(&self, status: u16, case: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{case}: {self:?}");
        let kind = self.header(header::CONTENT_TYPE);
        assert_eq!(kind, Some("application/problem+json"), "{case}");
        assert_eq!(
            self.header(header::CACHE_CONTROL),
            Some("no-store"),
            "{case}"
        );
        let length = self.header(header::CONTENT_LENGTH).unwrap();
        assert_eq!(length, self.body.len().to_string(), "{case}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], status, "{case}: {problem}");
        assert_eq!(
            problem["title"],
            self.status.canonical_reason().unwrap(),
            "{case}"
        );
        assert!(problem["detail"].is_string(), "{case}: {problem}");
        problem
    }
}
