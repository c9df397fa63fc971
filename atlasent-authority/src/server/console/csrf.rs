//! Where a request comes from: forms of other sites are refused.
//!
//! Three walls stand against them. Cookies are `SameSite=Strict`, so a request of another site
//! carries none. The browser says where a request comes from (`Sec-Fetch-Site`, `Origin`), which
//! this file checks. And each form repeats a token of its session, which
//! [`Form`](super::form::Form) checks.

use axum::http::{HeaderMap, HeaderName, Uri, header};

use crate::server::api_error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks that a request that changes something comes from a page of this server.
///
/// `Sec-Fetch-Site` decides where the browser sends it, which is over TLS and on this machine. Over
/// plain HTTP, browsers send `Origin` alone. The pages have `Referrer-Policy: no-referrer`, so
/// their own forms have the origin `null` there, as forms of some other sites do: the token tells
/// those apart. A request with neither header does not come from a current browser.
pub(super) fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let is_ours = match (one(headers, &SEC_FETCH_SITE), one(headers, &header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some("null")) => true,
        (None, Some(origin)) => {
            let host = host(headers, uri);
            let origin = origin.split_once("://").map(|(_, host)| host);
            origin.is_some_and(|origin| host.is_some_and(|host| host.eq_ignore_ascii_case(origin)))
        }
        (None, None) => false,
    };
    match is_ours {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "CROSS_SITE",
            "this form was not sent by a page of the console, so nothing was changed: open the console, and try again there",
        )),
    }
}

/// Returns whether another site led the browser here.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    matches!(
        one(headers, &SEC_FETCH_SITE),
        Some("cross-site" | "same-site")
    )
}

/// The host that the browser asks for, with its port: of HTTP/2 in the target, of HTTP/1.1 in a
/// header.
pub(super) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    authority.or_else(|| one(headers, &header::HOST))
}

/// The value of a header that was sent once. A repeated one counts as a value that fits nothing.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Some(""),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn passes(sent: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::HOST,
            HeaderValue::from_static("console.example:8443"),
        );
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        check_origin(&headers, &Uri::from_static("/console/stops")).is_ok()
    }

    #[test]
    fn only_pages_of_this_server_change_anything() {
        const ORIGIN: &str = "origin";
        const SITE: &str = "sec-fetch-site";
        for sent in [
            &[(SITE, "same-origin")][..],
            &[(SITE, "same-origin"), (ORIGIN, "null")],
            &[(ORIGIN, "https://console.example:8443")],
            &[(ORIGIN, "https://Console.Example:8443")],
            &[(ORIGIN, "null")],
        ] {
            assert!(passes(sent), "{sent:?}");
        }
        for sent in [
            &[][..],
            &[(SITE, "cross-site")],
            &[(SITE, "same-site")],
            &[(SITE, "none")],
            &[(SITE, "")],
            &[(SITE, "same-origin"), (SITE, "same-origin")],
            &[
                (SITE, "cross-site"),
                (ORIGIN, "https://console.example:8443"),
            ],
            &[(ORIGIN, "https://console.example")],
            &[(ORIGIN, "https://evil.example")],
            &[(ORIGIN, "https://console.example:8443.evil.example")],
            &[(ORIGIN, "console.example:8443")],
            &[(ORIGIN, "")],
        ] {
            assert!(!passes(sent), "{sent:?}");
        }
    }
}
