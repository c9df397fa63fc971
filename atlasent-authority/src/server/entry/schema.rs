//! The schema that a caller was compiled with (`X-AtlaSent-Schema-Digest`): its request states the
//! digest, and the answer states the digest of the policies that decided.

use std::sync::Arc;

use atlasent::wire::SCHEMA_DIGEST_HEADER;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::ApiCaller;
use crate::server::api_error::ApiError;
use crate::store::Store;

/// Returns the digest that a request requires. Anything else than one digest is refused: a caller
/// that states a schema is never answered without the comparison.
pub(super) fn required_schema(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut sent = headers.get_all(SCHEMA_DIGEST_HEADER).iter();
    let Some(first) = sent.next() else {
        return Ok(None);
    };
    let digest = first.to_str().ok().filter(|digest| is_digest(digest));
    match (digest, sent.next()) {
        (Some(digest), None) => Ok(Some(digest.to_owned())),
        _ => Err(ApiError::unreadable(
            "INVALID_SCHEMA_DIGEST",
            format!(
                "`{SCHEMA_DIGEST_HEADER}` has to be sent once, with the digest of a schema: 64 digits of \
                 lower-case hex"
            ),
        )),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Adds the digest of the schema to the answer of an endpoint that decides.
///
/// An answer to a caller that requires a schema is by policies with that schema, so it states that
/// one even if the policies have been replaced since.
pub(crate) async fn answer<S: Store>(request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Arc<ApiCaller<S>>>().cloned() else {
        return next.run(request).await;
    };
    if let Err(error) = caller.org.check_policies() {
        return error.into_response();
    }
    let mut response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let policies = caller.authority().policies();
    let digest = caller
        .required_schema
        .as_deref()
        .or(policies.schema_digest());
    if let Some(Ok(digest)) = digest.map(HeaderValue::from_str) {
        response.headers_mut().insert(SCHEMA_DIGEST_HEADER, digest);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(sent: &[&[u8]]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for digest in sent {
            let digest = HeaderValue::from_bytes(digest).unwrap();
            headers.append(SCHEMA_DIGEST_HEADER, digest);
        }
        required_schema(&headers).map_err(|error| error.code)
    }

    #[test]
    fn a_stated_schema_is_one_digest() {
        let digest = "0123456789abcdef".repeat(4);
        let bytes = digest.as_bytes();
        assert_eq!(required(&[]), Ok(None));
        assert_eq!(required(&[bytes]), Ok(Some(digest.clone())));
        let upper = digest.to_uppercase();
        for sent in [
            &[&b""[..]][..],
            &[b"5e0c"],
            &[upper.as_bytes()],
            &[&bytes[1..]],
            &[b"\xff"],
            &[bytes, bytes],
            &[bytes, b"5e0c"],
        ] {
            assert_eq!(required(sent), Err("INVALID_SCHEMA_DIGEST"), "{sent:?}");
        }
    }
}
