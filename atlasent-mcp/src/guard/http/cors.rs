//! The web pages that may call the endpoint from another origin (CORS, Fetch Standard 3.3).

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderName, Method};
use reqwest::Url;
use tower_http::cors::CorsLayer;

use super::headers::{LAST_EVENT_ID, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID};

/// The headers of the protocol that a page may send.
const SENT: [HeaderName; 8] = [
    ACCEPT,
    AUTHORIZATION,
    CONTENT_TYPE,
    LAST_EVENT_ID,
    METHOD,
    NAME,
    PROTOCOL_VERSION,
    SESSION_ID,
];

/// How long a browser keeps the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Returns whether a text is an origin as browsers write it: a scheme, a host, and a port that is
/// not the default. No request has any other text as its `Origin`.
///
/// ```
/// use atlasent_mcp::guard::http::is_origin;
///
/// assert!(is_origin("https://app.example") && is_origin("http://localhost:5173"));
/// assert!(!is_origin("https://app.example/") && !is_origin("https://app.example:443"));
/// ```
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let origin = url.origin();
    match origin.is_tuple() {
        true => origin.ascii_serialization() == text,
        // Such as that of a browser's extension.
        false => text
            .split_once("://")
            .is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '?', '#'])),
    }
}

/// Answers preflight requests, and lets the pages of the origins read the answers. Requests of
/// other origins are refused by the endpoint itself.
pub(super) fn layer(origins: &[String]) -> CorsLayer {
    // A text that no header can hold is the origin of no page.
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .filter(|origin| origin != "*");
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(SENT)
        .expose_headers([SESSION_ID, WWW_AUTHENTICATE])
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_write() {
        for (text, expected) in [
            ("https://app.example", true),
            ("http://127.0.0.1:5173", true),
            ("chrome-extension://abcdef", true),
            ("https://app.example/", false),
            ("https://app.example/path", false),
            ("https://App.example", false),
            ("https://app.example:443", false),
            ("https://user@app.example", false),
            ("chrome-extension://abcdef/page", false),
            ("mailto:a@app.example", false),
            ("app.example", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(is_origin(text), expected, "{text}");
        }
    }
}
