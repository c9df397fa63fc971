//! The id of a request (`X-Request-ID`), which its response, its log line and its events repeat.

use axum::http::{HeaderMap, HeaderName};

/// The header of the id, in requests and in responses.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request. [`pass`](super::pass) adds it to the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// Takes the id that the client sent, or makes a new one if that is missing or malformed.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID).iter();
        let (Some(id), None) = (sent.next(), sent.next()) else {
            return Self::new();
        };
        let id = id.to_str().ok().filter(|id| is_well_formed(id));
        id.map_or_else(Self::new, |id| Self(id.to_owned()))
    }

    fn new() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

fn is_well_formed(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (8..=128).contains(&id.len()) && id.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn taken(sent: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for id in sent {
            headers.append(REQUEST_ID, HeaderValue::from_str(id).unwrap());
        }
        let id = RequestId::from_headers(&headers).0;
        assert!(is_well_formed(&id));
        sent.contains(&&*id)
    }

    #[test]
    fn one_well_formed_id_is_taken_and_anything_else_replaced() {
        assert!(taken(&["a-request_1.2"]));
        let long = "x".repeat(129);
        for sent in [
            &[][..],
            &["short"],
            &["has spaces in it"],
            &["quote\"quote"],
            &[&long],
            &["the-first-id", "the-second-id"],
        ] {
            assert!(!taken(sent), "{sent:?}");
        }
    }
}
