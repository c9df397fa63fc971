//! Builds problem details from refusals (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use serde::Serialize;

use crate::Refusal;
use crate::challenge::{Challenge, ChallengeParameters};

/// The body. It has no `type`, which means `about:blank`, so its title is that of the status.
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
    escalation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl<'a> Problem<'a> {
    fn new(refusal: &'a Refusal) -> Self {
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
            escalation_id: denied.and_then(atlasent::Denied::escalation_id),
            approval_url: denied.and_then(atlasent::Denied::approval_url),
            scope: match refusal {
                Refusal::MissingScope { scope } => Some(scope),
                _ => None,
            },
        }
    }
}

pub(crate) fn response(refusal: &Refusal) -> Response<Bytes> {
    // Serializing a struct of texts and a number does not fail.
    let body = serde_json::to_vec(&Problem::new(refusal)).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    // A request that is refused now may be allowed in a minute.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
    if let Some(challenge) = Challenge::new(refusal) {
        if let Some(value) = challenge.header(&ChallengeParameters::default()) {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        response.extensions_mut().insert(challenge);
    }
    response
}

/// Returns the duration in seconds, rounded up so that a caller does not retry too early.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
}
