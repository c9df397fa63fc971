//! The web pages that may call the endpoint from another origin (CORS, Fetch Standard 3.3).

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderName, Method};
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
