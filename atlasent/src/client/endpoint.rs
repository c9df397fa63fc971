//! The base URL of the API, checked when a client is built.

use std::fmt;

use reqwest::Url;

use crate::Error;
use crate::error::ConfigError;
use crate::text::is_loopback_host;
use crate::text::redact::excerpt;

/// The base URL of the hosted service.
pub(crate) const DEFAULT_BASE_URL: &str = "https://api.atlasent.io";
/// The environment variable that allows plain `http` to any host if its value is `1`.
const ALLOW_HTTP: &str = "ATLASENT_ALLOW_INSECURE_HTTP";

/// A checked base URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: Url,
    is_local: bool,
}

impl Endpoint {
    /// Checks a base URL (contract, part A, "Construction").
    pub(crate) fn new(base: &str) -> Result<Self, Error> {
        Self::check(base, std::env::var(ALLOW_HTTP).is_ok_and(|v| v == "1"))
    }

    fn check(base: &str, allow_http: bool) -> Result<Self, Error> {
        let base = base.trim_end_matches('/');
        let shown = without_secrets(base);
        let refuse = |why: &str| Err(Error::config(format!("the base URL `{shown}` {why}")));
        let url = Url::parse(base).map_err(|error| {
            let message = format!(
                "the base URL `{shown}` is not an absolute URL: write it as `https://host`"
            );
            ConfigError::new(message).with_source(error)
        })?;
        let Some(host) = url.host_str() else {
            return refuse("names no host: write it as `https://host`");
        };
        if has_userinfo(&url, base) {
            return refuse("holds a user or password: remove them, since only the API key is sent");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("has a query or a fragment: remove it");
        }
        match url.scheme() {
            "https" => {}
            "http" if allow_http || is_loopback_host(host) => {}
            "http" => {
                return refuse(
                    "would send the API key in the clear: use `https`; in a closed network, \
                     `ATLASENT_ALLOW_INSECURE_HTTP=1` allows `http`",
                );
            }
            _ => return refuse("is neither `https` nor `http`"),
        }
        Ok(Self {
            is_local: is_loopback_host(host),
            base: url,
        })
    }

    /// Whether connections use TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Whether the host is this machine, which is never reached through a proxy.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// Returns the URL of a path of the API.
    pub(crate) fn url(&self, path: &str) -> Url {
        let prefix = self.base.path().trim_end_matches('/');
        // Only the path is parsed at each call, since the host takes far longer.
        let mut url = self.base.clone();
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    /// The base URL without trailing slashes.
    fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }
}

/// Whether a URL has a user or a password, even if they are empty, as in `https://@host`.
fn has_userinfo(url: &Url, text: &str) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return true;
    }
    let after_scheme = text.split_once(':').map_or(text, |(_, rest)| rest);
    let authority = after_scheme.trim_start_matches(['/', '\\']);
    let end = authority.find(['/', '\\', '?', '#']);
    let authority = end
        .and_then(|end| authority.get(..end))
        .unwrap_or(authority);
    authority.contains('@')
}

/// Returns the scheme, host, port and path of a URL. For any other text the result is `…`, because
/// each part of it may be a password.
pub(super) fn without_secrets(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut plain) if plain.has_host() && !has_userinfo(&plain, url) => {
            plain.set_query(None);
            plain.set_fragment(None);
            excerpt(plain.as_str().trim_end_matches('/'))
        }
        _ => "…".to_owned(),
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.base(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_taken_without_its_last_slashes() {
        for (base, kept) in [
            ("https://api.atlasent.io", "https://api.atlasent.io"),
            ("https://api.atlasent.io///", "https://api.atlasent.io"),
            ("https://host:8443/prefix/", "https://host:8443/prefix"),
        ] {
            assert_eq!(Endpoint::check(base, false).unwrap().base(), kept);
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for base in [
            "http://localhost:8080",
            "http://LOCALHOST",
            "http://127.0.0.1:9",
            "http://127.8.8.8",
            "http://[::1]:80",
        ] {
            assert!(Endpoint::check(base, false).is_ok(), "{base}");
        }
        for base in [
            "http://api.atlasent.io",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "http://[fe80::1]",
        ] {
            assert!(Endpoint::check(base, false).is_err(), "{base}");
            assert!(Endpoint::check(base, true).is_ok(), "{base}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for base in [
            "",
            "api.atlasent.io",
            "/v1",
            "https://",
            "file:///etc/passwd",
            "ftp://host",
            "https://host?x=1",
            "https://host#x",
            "https://user@host",
            "https://user:secret@host",
            "data:text/plain,x",
        ] {
            assert!(Endpoint::check(base, true).is_err(), "{base}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for base in [
            "https://user:hunter2@host",
            "https://hunter2@host",
            "https://:hunter2@host",
            "https:user:hunter2@host",
            "https:\\\\user:hunter2@host",
            "https:/\t/user:hunter2@host",
            "https://user:hunter2@@host",
            "https://user:hunter2@host@host",
            "https://user:hunter2%40host",
            "https://user:hunter2",
            "https://us er:hunter2@host",
            "ht tp://user:hunter2@host",
            "//user:hunter2@host",
            "user:hunter2@host",
            "https://user:hunter2@/path",
            "https://user:hunter2@host/a@b?c@d#e@f",
            "https://host?password=hunter2",
            "https://host/?#hunter2",
            "ftp://user:hunter2@host",
            "https://@host/?hunter2",
        ] {
            let error = Endpoint::check(base, true).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(!without_secrets(base).contains("hunter2"), "{base}");
        }
        assert!(Endpoint::check("https://@host", true).is_err());
        // An `@` in the path is not user information.
        assert!(Endpoint::check("https://host/a@b", true).is_ok());
    }

    #[test]
    fn a_url_that_cannot_be_read_keeps_its_cause() {
        let error = Endpoint::check("host", false).unwrap_err();
        let Error::Config(error) = error else {
            panic!("{error}");
        };
        let cause = std::error::Error::source(&*error).unwrap();
        assert_eq!(cause.to_string(), "relative URL without a base");
    }

    #[test]
    fn a_path_follows_the_path_of_the_base_url() {
        for (base, url) in [
            ("https://host", "https://host/v1/permits/a:b"),
            ("http://[::1]:80", "http://[::1]/v1/permits/a:b"),
            (
                "https://host:8443/a%20b//",
                "https://host:8443/a%20b/v1/permits/a:b",
            ),
            ("https://host//other", "https://host//other/v1/permits/a:b"),
            ("https://host/a/../b", "https://host/b/v1/permits/a:b"),
        ] {
            let endpoint = Endpoint::check(base, true).unwrap();
            assert_eq!(endpoint.url("/v1/permits/a:b").as_str(), url);
        }
    }
}
