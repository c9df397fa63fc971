//! Refuses paths that are not in normal form.
//!
//! A decision about `/patients/7` must not apply to `/patients/./7`, `/patients//7` or
//! `/patients/%37`, which some components treat as the same path and others do not. So a path that
//! normalization would change (RFC 3986 §6.2.2) is refused, and so is a path with an escaped
//! separator.

use http::Uri;
use http::request::Parts;

use crate::Refusal;

/// Refuses a request whose whole path is not in normal form. The layers, the guards of routes, and
/// the extractors of `atlasent-axum` all start with this check: reading a path again costs less
/// than remembering it in the request.
///
/// Inside `axum::Router::nest`, the path of a request is the rest of the [whole path](whole_path),
/// and both are checked.
///
/// ```
/// use atlasent_tower::check_request_path;
///
/// let (request, ()) = http::Request::get("/acme/..%2Fetc").body(()).unwrap().into_parts();
/// assert!(check_request_path(&request).is_err());
/// ```
///
/// # Errors
///
/// Returns the errors of [`check_path`].
pub fn check_request_path(request: &Parts) -> Result<(), Refusal> {
    let (whole, path) = (whole_path(request), request.uri.path());
    check_path(whole)?;
    // Routers strip whole segments from the front, and the rest of a path in normal form is in
    // normal form.
    match path.starts_with('/') && whole.ends_with(path) {
        true => Ok(()),
        false => check_path(path),
    }
}

/// Returns the path of a request as the service received it, also inside `axum::Router::nest`,
/// where the request itself has only the rest of it.
///
/// Without the feature `axum`, which is enabled by default, this function returns the path of the
/// request itself.
#[must_use]
pub fn whole_path(request: &Parts) -> &str {
    whole_uri(request).path()
}

fn whole_uri(request: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(whole)) = request.extensions.get() {
        return whole;
    }
    &request.uri
}

/// Refuses a path that normalization would change (RFC 3986 §6.2.2), or that has an escaped
/// separator or control character.
///
/// ```
/// use atlasent_tower::check_path;
///
/// assert!(check_path("/patients/7").is_ok());
/// assert!(check_path("/patients/../admin").is_err());
/// assert!(check_path("/patients/%37").is_err());
/// ```
///
/// # Errors
///
/// Returns [`Refusal::BadRequest`] with the reason.
pub fn check_path(path: &str) -> Result<(), Refusal> {
    match why_not_normal(path) {
        None => Ok(()),
        Some(why) => Err(Refusal::bad_request(format!(
            "its path {why}: send it in normal form (RFC 3986 §6.2.2)"
        ))),
    }
}

fn why_not_normal(path: &str) -> Option<&'static str> {
    // `OPTIONS *` and `CONNECT` have no path.
    if path == "*" || path.is_empty() {
        return None;
    }
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == "." || segment == ".." {
            return Some("has a dot segment");
        }
        // The last segment is empty if the path ends with a slash.
        if segment.is_empty() && segments.peek().is_some() {
            return Some("has an empty segment");
        }
        if let Some(why) = why_not_normal_segment(segment) {
            return Some(why);
        }
    }
    None
}

fn why_not_normal_segment(segment: &str) -> Option<&'static str> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = (bytes.next(), bytes.next());
                let (Some(high), Some(low)) = digits else {
                    return Some("has a `%` without two hex digits");
                };
                let (Some(high_value), Some(low_value)) = (hex(high), hex(low)) else {
                    return Some("has a `%` without two hex digits");
                };
                match high_value << 4 | low_value {
                    b'/' | b'\\' => return Some("has an escaped separator"),
                    0..=0x1f | 0x7f => return Some("has an escaped control character"),
                    decoded if is_unreserved(decoded) => {
                        return Some("escapes a character that needs no escape");
                    }
                    _ => {}
                }
                if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
                    return Some("has an escape with a lower-case hex digit");
                }
            }
            byte if is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte) => {}
            _ => return Some("has a character that must be escaped"),
        }
    }
    None
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
    use proptest::prelude::*;

    #[test]
    fn a_path_in_normal_form_passes() {
        for path in [
            "/",
            "*",
            "",
            "/patients/7",
            "/patients/7/",
            "/a.b/..c/d..",
            "/pkg.v1.Service/Method",
            "/jos%C3%A9",
            "/a%20b%25",
            "/x;y=1:2@3!$&'()*+,~_-",
        ] {
            assert_eq!(why_not_normal(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_that_normalization_changes_does_not() {
        for (path, why) in [
            ("/a/../b", "dot segment"),
            ("/a/.", "dot segment"),
            ("/..", "dot segment"),
            ("/a/%2e%2e/b", "needs no escape"),
            ("/a/%2E/b", "needs no escape"),
            ("/a/.%2E/b", "needs no escape"),
            ("//a", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a//", "empty segment"),
            ("/p%61tients", "needs no escape"),
            ("/p%7Etients", "needs no escape"),
            ("/a%2Fb", "separator"),
            ("/a%2fb", "separator"),
            ("/a%5Cb", "separator"),
            ("/a\\b", "must be escaped"),
            ("/a%00", "control character"),
            ("/a%0D%0A", "control character"),
            ("/jos%c3%a9", "lower-case"),
            ("/a%", "two hex digits"),
            ("/a%4", "two hex digits"),
            ("/a%4g", "two hex digits"),
            ("/a%+1", "two hex digits"),
            ("/jos\u{e9}", "must be escaped"),
            ("/a\"b", "must be escaped"),
            ("/{a}", "must be escaped"),
        ] {
            let found = why_not_normal(path);
            assert!(
                found.is_some_and(|found| found.contains(why)),
                "{path}: {found:?}"
            );
        }
    }

    fn request(uri: &str) -> Parts {
        let (mut request, ()) = http::Request::new(()).into_parts();
        request.uri = uri.parse().unwrap();
        request
    }

    #[test]
    fn a_path_that_is_rewritten_after_the_check_is_checked_again() {
        let mut request = request("/acme/x?a=b");
        check_request_path(&request).unwrap();
        for uri in ["/acme/%2e%2e", "//acme/x", "/acme/x/..", "/%61cme/x"] {
            request.uri = uri.parse().unwrap();
            assert!(check_request_path(&request).is_err(), "{uri}");
        }
        request.uri = "/acme/y".parse().unwrap();
        check_request_path(&request).unwrap();
    }

    #[cfg(feature = "axum")]
    #[test]
    fn the_whole_path_and_the_stripped_path_are_both_checked() {
        use axum::extract::OriginalUri;

        for (whole, rest, passes) in [
            ("/acme/deep/x", "/x", true),
            ("/acme/deep", "/", true),
            ("/acme/deep/", "/", true),
            ("/acme/deep/x", "/acme/deep/x", true),
            // The rewritten path is in normal form.
            ("/acme/deep/x", "/other", true),
            ("/%61cme/deep/x", "/x", false),
            ("/../deep/x", "/x", false),
            ("/a%2Fb/deep/x", "/x", false),
            ("/acme/deep//x", "/x", false),
            ("/acme/deep/x", "/..%2Fx", false),
            ("/acme/deep/x", "/./x", false),
            ("/acme/deep/x", "//x", false),
        ] {
            let mut request = request(rest);
            request
                .extensions
                .insert(OriginalUri(whole.parse().unwrap()));
            assert_eq!(whole_path(&request), whole);
            let checked = check_request_path(&request).is_ok();
            assert_eq!(checked, passes, "{whole}, {rest}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_of_a_path_in_normal_form_is_in_normal_form(text in "/[a-z0-9%2-7A-F./~ -]{0,12}") {
            if why_not_normal(&text).is_none() {
                for (at, _) in text.match_indices('/') {
                    let (_, rest) = text.split_at(at);
                    prop_assert_eq!(why_not_normal(rest), None, "{} of {}", rest, text);
                }
            }
        }

        #[test]
        fn no_two_paths_that_pass_decode_to_the_same(text in "/[a-z0-9%2-7A-F./~ -]{0,12}") {
            if why_not_normal(&text).is_none() {
                // All characters but the separators, escaped as normalization does it.
                let decoded = percent_decode_str(&text).collect::<Vec<u8>>();
                let again: String = decoded
                    .split(|byte| *byte == b'/')
                    .map(|segment| {
                        segment.iter().map(|byte| {
                            if is_unreserved(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
                        }).collect::<String>()
                    })
                    .collect::<Vec<_>>()
                    .join("/");
                prop_assert_eq!(again, text);
            }
        }

        #[test]
        fn any_text_can_stand_in_a_segment_when_it_is_escaped_as_it_must(text in "[a-zA-Z0-9 %?#é]{1,12}") {
            let escaped = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(why_not_normal(&format!("/{escaped}")), None);
        }
    }
}
