//! The id of a request (`X-Request-ID`), which its response, its log line and its events repeat.

use atlasent::text::bearer_token;
use axum::http::{HeaderMap, HeaderName, header};

/// The header of the id, in requests and in responses.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What an API key begins with.
const KEY_PREFIXES: [&str; 2] = ["ask_live_", "ask_test_"];

/// The id of a request. [`pass`](super::pass) adds it to the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// Takes the id that the client sent, or makes a new one if that is missing, malformed or
    /// contains an API key: logs and events repeat it.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID).iter();
        let (Some(id), None) = (sent.next(), sent.next()) else {
            return Self::new();
        };
        let id = id.to_str().ok();
        let id = id.filter(|id| is_well_formed(id) && !contains_key(id, headers));
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

/// Returns whether an id contains an API key, or the key or token that the request is sent with.
fn contains_key(id: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get_all(header::AUTHORIZATION).iter();
    let mut sent = sent.filter_map(|value| bearer_token(value.to_str().ok()?).ok());
    KEY_PREFIXES.iter().any(|prefix| id.contains(*prefix)) || sent.any(|key| id.contains(key))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TOKEN: &str = "header.claims.signature";

    fn taken(sent: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap();
        headers.append(header::AUTHORIZATION, bearer);
        for id in sent {
            headers.append(REQUEST_ID, HeaderValue::from_str(id).unwrap());
        }
        let id = RequestId::from_headers(&headers).0;
        assert!(is_well_formed(&id));
        sent.contains(&&*id)
    }

    #[test]
    fn an_id_with_an_api_key_or_the_token_of_the_request_is_replaced() {
        for id in ["ask_live_0", "x.ask_test_0123456789", TOKEN] {
            assert!(!taken(&[id]), "{id}");
        }
        assert!(!taken(&[&format!("id-{TOKEN}-1")]));
        assert!(taken(&["header.claims"]) && taken(&["task_live"]));
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
