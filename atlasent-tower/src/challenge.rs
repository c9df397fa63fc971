//! Challenges: what a refused caller is asked to send, in `WWW-Authenticate` (RFC 6750 §3, RFC 9728
//! §5.1).

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, Uri};

use crate::{Refusal, Unauthenticated};

/// The challenge of a refusal. It travels in the response's extensions, so that the layer that
/// knows the realm can add it.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    error: Option<&'static str>,
    scope: Option<String>,
}

impl Challenge {
    /// The challenge of a 401, or of a 403 for want of a scope. No other refusal has one: another
    /// token would not help.
    pub(crate) fn new(refusal: &Refusal) -> Option<Self> {
        let (error, scope) = match refusal {
            // RFC 6750 §3.1: a caller that sent no token is told of no error.
            Refusal::Unauthenticated(
                Unauthenticated::NoToken
                | Unauthenticated::OtherScheme
                | Unauthenticated::NoAgent(_),
            ) => (None, None),
            Refusal::Unauthenticated(_) => (Some("invalid_token"), None),
            Refusal::MissingScope { scope } => (Some("insufficient_scope"), Some(scope.clone())),
            _ => return None,
        };
        Some(Self { error, scope })
    }

    /// The value of `WWW-Authenticate`.
    pub(crate) fn header(&self, protection: &Protection) -> Option<HeaderValue> {
        let mut value = String::from("Bearer");
        let mut separator = " ";
        let mut add = |name: &str, text: Option<&str>| {
            if let Some(text) = text {
                // Writing to a `String` does not fail.
                let _ = write!(value, "{separator}{name}=\"{text}\"");
                separator = ", ";
            }
        };
        add("realm", protection.realm());
        add("error", self.error);
        // What a scope-token may hold (RFC 6749 §3.3) needs no escape in a quoted string.
        let scope = self.scope.as_deref();
        add(
            "scope",
            scope.filter(|scope| scope.bytes().all(is_scope_character)),
        );
        add("resource_metadata", protection.resource_metadata());
        HeaderValue::try_from(value).ok()
    }
}

/// What a layer says of itself in its challenges: nothing, unless it is given a realm or the URL of
/// its metadata. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protection(Option<Arc<Parameters>>);

#[derive(Clone, Debug, Default)]
struct Parameters {
    realm: Option<Parameter>,
    resource_metadata: Option<Parameter>,
}

/// The text of a parameter as it stands between the quotation marks, or why it cannot stand there.
type Parameter = Result<Arc<str>, &'static str>;

impl Protection {
    pub(crate) fn set_realm(&mut self, realm: &str) {
        self.parameters().realm = Some(quoted(realm).ok_or("a realm is printable ASCII"));
    }

    pub(crate) fn set_resource_metadata(&mut self, url: &str) {
        let url = is_metadata_url(url).then(|| quoted(url)).flatten();
        self.parameters().resource_metadata = Some(url.ok_or(
            "the URL of the resource metadata is absolute, of `https` or `http`, without user and fragment",
        ));
    }

    /// Fails when a parameter cannot stand in a header: the layer was told to send it.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let Some(parameters) = &self.0 else {
            return Ok(());
        };
        for parameter in [&parameters.realm, &parameters.resource_metadata] {
            if let Some(Err(why)) = parameter {
                return Err(Refusal::misconfigured(format!(
                    "a challenge cannot be written: {why}"
                )));
            }
        }
        Ok(())
    }

    /// Adds the parameters to the challenge of a response, unless a layer further in has, or a
    /// responder wrote a challenge of its own.
    pub(crate) fn completed<B>(&self, mut response: Response<B>) -> Response<B> {
        if self.0.is_some()
            && let Some(challenge) = response.extensions_mut().remove::<Challenge>()
            && let Some(value) = response.headers_mut().get_mut(WWW_AUTHENTICATE)
            && challenge
                .header(&Self::default())
                .is_some_and(|written| written == *value)
            && let Some(complete) = challenge.header(self)
        {
            *value = complete;
        }
        response
    }

    fn parameters(&mut self) -> &mut Parameters {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    fn realm(&self) -> Option<&str> {
        self.0.as_ref()?.realm.as_ref()?.as_deref().ok()
    }

    fn resource_metadata(&self) -> Option<&str> {
        self.0.as_ref()?.resource_metadata.as_ref()?.as_deref().ok()
    }
}

/// A text as the content of a quoted string (RFC 9110 §5.6.4): `"` and `\` get a `\` in front. None
/// for a text that is not printable ASCII, which readers disagree on.
fn quoted(text: &str) -> Option<Arc<str>> {
    let mut content = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => content.extend(['\\', character]),
            ' '..='~' => content.push(character),
            _ => return None,
        }
    }
    Some(content.into())
}

fn is_metadata_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let is_http = matches!(uri.scheme_str(), Some("https" | "http"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    // `Uri` drops a fragment without a word, and takes more characters than a URL may hold (RFC
    // 3986 §2).
    is_http && has_host && !url.contains(['#', '@', '"', '\\', '<', '>', '`', '{', '|', '}', '^'])
}

fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn protection(realm: &str, url: &str) -> Protection {
        let mut protection = Protection::default();
        protection.set_realm(realm);
        protection.set_resource_metadata(url);
        protection
    }

    const URL: &str = "https://api.example.com/.well-known/oauth-protected-resource";

    #[test]
    fn a_challenge_has_its_parameters_in_quotation_marks() {
        let challenge = Challenge {
            error: Some("invalid_token"),
            scope: None,
        };
        let header = challenge.header(&protection(r#"a "b" \c"#, URL)).unwrap();
        assert_eq!(
            header,
            format!(
                r#"Bearer realm="a \"b\" \\c", error="invalid_token", resource_metadata="{URL}""#
            )
        );
        let bare = Challenge {
            error: None,
            scope: None,
        };
        assert_eq!(bare.header(&Protection::default()).unwrap(), "Bearer");
    }

    #[test]
    fn a_parameter_that_cannot_stand_in_a_header_is_refused() {
        for realm in ["a\r\nb", "\u{e9}", "\t", "\0", "a\u{7f}"] {
            assert!(protection(realm, URL).check().is_err(), "{realm:?}");
        }
        for url in [
            "",
            "/.well-known/oauth-protected-resource",
            "example.com",
            "ftp://example.com/",
            "https://",
            "https:///a",
            "https://user:password@example.com/",
            "https://example.com/#a",
            "https://example.com/\r\nx",
            "https://example.com/\u{e9}",
            "https://example.com/\"a\"",
        ] {
            assert!(protection("a", url).check().is_err(), "{url:?}");
        }
        assert!(protection("", URL).check().is_ok());
        assert!(
            protection("a", "http://localhost:8080/m?x=y")
                .check()
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn a_realm_reads_as_it_was_written_or_is_refused(realm in any::<String>()) {
            let protection = protection(&realm, URL);
            let Some(content) = protection.realm() else {
                prop_assert!(protection.check().is_err());
                return Ok(());
            };
            let mut read = String::new();
            let mut characters = content.chars();
            while let Some(character) = characters.next() {
                prop_assert_ne!(character, '"');
                read.extend(if character == '\\' { characters.next() } else { Some(character) });
            }
            prop_assert_eq!(read, realm);
        }
    }
}
