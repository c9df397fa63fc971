//! Refusals as problem details (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use serde::Serialize;

use crate::Refusal;
use crate::challenge::{Challenge, Protection};

/// The body. Its `type` is `about:blank`, which is what leaving it out means, so its title is that
/// of the status.
#[derive(Serialize)]
struct Problem<'a> {
    status: u16,
    title: &'a str,
    detail: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl<'a> Problem<'a> {
    fn of(refusal: &'a Refusal) -> Self {
        let status = refusal.status();
        let denied = refusal.denied();
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default(),
            detail: refusal.detail(),
            decision: denied.map(|denied| denied.decision().as_str()),
            reason: denied.map(atlasent::Denied::reason),
            code: denied.and_then(atlasent::Denied::code),
            evaluation_id: denied.and_then(atlasent::Denied::evaluation_id),
            scope: match refusal {
                Refusal::MissingScope { scope } => Some(scope),
                _ => None,
            },
        }
    }
}

pub(crate) fn response(refusal: &Refusal) -> Response<Bytes> {
    // A struct of texts and a number always has its JSON.
    let body = serde_json::to_vec(&Problem::of(refusal)).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    // What was refused now may be allowed in a minute.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
    if let Some(challenge) = Challenge::new(refusal) {
        if let Some(value) = challenge.header(&Protection::default()) {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        response.extensions_mut().insert(challenge);
    }
    response
}

/// Rounded up: who comes back then comes late enough.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
}
