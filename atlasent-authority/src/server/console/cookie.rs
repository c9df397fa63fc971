//! The cookies of the console: of a session, of a login form, and of a login at an issuer.

use std::net::IpAddr;

use atlasent::text::is_loopback_host;
use axum::http::{HeaderMap, HeaderValue, Uri, header};

use super::csrf::host;

/// The cookie with the id of a session.
pub(super) const SESSION: &str = "atlasent_console";

/// The cookie with the token of a login form.
pub(super) const LOGIN: &str = "atlasent_login";

/// The cookie of a login that is under way at an issuer.
#[cfg(feature = "oidc")]
pub(super) const ISSUER_LOGIN: &str = "atlasent_oidc";

/// Returns the value of a cookie. A cookie that was sent twice has none: one of the two was set by
/// somebody else.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok());
    let pairs = pairs.flat_map(|line| line.split(';').map(str::trim));
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// How long a browser keeps a cookie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lasting {
    /// Until the browser ends.
    Session,
    /// No longer: the cookie is removed.
    Removed,
}

/// Builds a cookie that no script reads and no other site sends. The value has no character that
/// cookies give a meaning to.
pub(super) fn set(name: &str, value: &str, is_secure: bool, lasting: Lasting) -> HeaderValue {
    let age = match lasting {
        Lasting::Session => "",
        Lasting::Removed => "; Max-Age=0",
    };
    build(&format!(
        "{name}={value}; Path=/console; HttpOnly; SameSite=Strict{}{age}",
        secure(is_secure)
    ))
}

/// Builds the cookie of a login at an issuer, for a number of seconds; 0 removes it. The browser
/// has to send it when the issuer leads it back, and `SameSite=Lax` allows that for pages that
/// replace the whole tab.
#[cfg(feature = "oidc")]
pub(super) fn set_issuer_login(value: &str, is_secure: bool, seconds: i64) -> HeaderValue {
    build(&format!(
        "{ISSUER_LOGIN}={value}; Path=/console/login/oidc; HttpOnly; SameSite=Lax{}; \
         Max-Age={seconds}",
        secure(is_secure)
    ))
}

const fn secure(is_secure: bool) -> &'static str {
    if is_secure { "; Secure" } else { "" }
}

fn build(cookie: &str) -> HeaderValue {
    HeaderValue::from_str(cookie).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns whether the cookies of a request must be sent over TLS only: unless the request stays on
/// this machine, from a browser that was told so. Behind a proxy, which may end TLS, the client's
/// address or the host is another.
pub(super) fn is_secure(
    is_tls: bool,
    client: Option<IpAddr>,
    headers: &HeaderMap,
    uri: &Uri,
) -> bool {
    let is_here = client.is_some_and(|client| client.to_canonical().is_loopback());
    let name = host(headers, uri).map(without_port);
    is_tls || !is_here || !name.is_some_and(is_loopback_host)
}

/// Returns a host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_among_others_and_not_if_it_is_there_twice() {
        let read = |lines: &[&str]| {
            let headers = headers(header::COOKIE, lines);
            read(&headers, SESSION).map(str::to_owned)
        };
        let found = Some("abc".to_owned());
        assert_eq!(read(&["atlasent_console=abc"]), found);
        assert_eq!(read(&["a=b; atlasent_console=abc;c=d"]), found);
        assert_eq!(read(&["a=b", "atlasent_console=abc"]), found);
        assert_eq!(read(&["atlasent_console=abc; atlasent_console=def"]), None);
        assert_eq!(
            read(&["atlasent_console=abc", "atlasent_console=abc"]),
            None
        );
        assert_eq!(read(&["atlasent_console="]), None);
        assert_eq!(read(&["xatlasent_console=abc"]), None);
        assert_eq!(read(&["atlasent_console_=abc"]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn cookies_cross_a_network_over_tls_only() {
        let secure = |is_tls, client: Option<&str>, host: &str| {
            let client = client.map(|client| client.parse().unwrap());
            let headers = headers(header::HOST, &[host]);
            is_secure(is_tls, client, &headers, &Uri::from_static("/console"))
        };
        for host in ["localhost:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]:80"] {
            assert!(!secure(false, Some("127.0.0.1"), host), "{host}");
            assert!(!secure(false, Some("::1"), host), "{host}");
            assert!(secure(true, Some("127.0.0.1"), host), "{host}");
            assert!(secure(false, Some("192.0.2.1"), host), "{host}");
            assert!(secure(false, None, host), "{host}");
        }
        for host in [
            "console.example",
            "localhost.evil.example",
            "",
            "10.0.0.1:8080",
        ] {
            assert!(secure(false, Some("127.0.0.1"), host), "{host}");
        }
    }
}
