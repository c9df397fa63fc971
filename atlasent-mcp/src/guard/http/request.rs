//! What the head of a request says.

use atlasent::text::is_loopback_host;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use http::request::Parts;

/// Returns a header that stands once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = only(headers, &CONTENT_TYPE)?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

/// Whether the host that a request names is this machine.
pub(super) fn has_loopback_host(parts: &Parts) -> bool {
    let host = match parts.uri.host() {
        Some(host) => Some(host),
        None => only(&parts.headers, &HOST).map(without_port),
    };
    host.is_some_and(is_loopback_host)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
