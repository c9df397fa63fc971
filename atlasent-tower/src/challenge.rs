//! Challenges in `WWW-Authenticate`, which tell a refused caller what to send (RFC 6750 §3, RFC
//! 9728 §5.1).

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, Uri};

use crate::{Refusal, Unauthenticated};

/// The challenge of a refusal. It is kept in the extensions of the response, so that an outer layer
/// can add its realm.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    error: Option<&'static str>,
    scope: Option<String>,
}

impl Challenge {
    /// Creates the challenge of a 401, or of a 403 because of a missing scope. Other refusals have
    /// no challenge, since another token would not help.
    pub(crate) fn new(refusal: &Refusal) -> Option<Self> {
        let (error, scope) = match refusal {
            // RFC 6750 §3.1: the challenge names no error if the request had no token.
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

    /// Returns the value of `WWW-Authenticate`.
    pub(crate) fn header(&self, parameters: &ChallengeParameters) -> Option<HeaderValue> {
        let mut value = String::from("Bearer");
        let mut separator = " ";
        let mut add = |name: &str, text: Option<&str>| {
            if let Some(text) = text {
                // Writing to a `String` does not fail.
                let _ = write!(value, "{separator}{name}=\"{text}\"");
                separator = ", ";
            }
        };
        add("realm", parameters.realm());
        add("error", self.error);
        // The characters of a scope-token (RFC 6749 §3.3) need no escape in a quoted string.
        let scope = self.scope.as_deref();
        add(
            "scope",
            scope.filter(|scope| scope.bytes().all(is_scope_character)),
        );
        add("resource_metadata", parameters.resource_metadata());
        HeaderValue::try_from(value).ok()
    }
}

/// The parameters that a layer adds to challenges: its realm and the URL of its metadata, both
/// optional. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChallengeParameters(Option<Arc<Parameters>>);

#[derive(Clone, Debug, Default)]
struct Parameters {
    realm: Option<Parameter>,
    resource_metadata: Option<Parameter>,
}

/// The content of a quoted string, or the reason why the parameter is invalid.
type Parameter = Result<Arc<str>, &'static str>;

impl ChallengeParameters {
    pub(crate) fn set_realm(&mut self, realm: &str) {
        self.parameters().realm = Some(quoted(realm).ok_or("the realm has to be printable ASCII"));
    }

    pub(crate) fn set_resource_metadata(&mut self, url: &str) {
        let url = is_metadata_url(url).then(|| quoted(url)).flatten();
        self.parameters().resource_metadata = Some(url.ok_or(
            "the URL of the resource metadata has to be absolute, start with `https` or `http`, and have no user and no fragment",
        ));
    }

    /// Returns a misconfiguration if a parameter cannot be sent in a header.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let Some(parameters) = &self.0 else {
            return Ok(());
        };
        for parameter in [&parameters.realm, &parameters.resource_metadata] {
            if let Some(Err(why)) = parameter {
                return Err(Refusal::misconfigured(format!(
                    "the challenge cannot be built: {why}"
                )));
            }
        }
        Ok(())
    }

    /// Adds the parameters to the challenge of a response, unless an inner layer already added its
    /// own or the responder wrote another challenge.
    pub(crate) fn complete<B>(&self, mut response: Response<B>) -> Response<B> {
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

/// Returns the content of a quoted string (RFC 9110 §5.6.4) with this text: `"` and `\` get a `\`
/// in front. Returns `None` for a text that is not printable ASCII, which readers parse
/// differently.
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
    // `Uri` silently drops a fragment, and accepts more characters than a URL may hold (RFC 3986
    // §2).
    is_http && has_host && !url.contains(['#', '@', '"', '\\', '<', '>', '`', '{', '|', '}', '^'])
}

fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parameters(realm: &str, url: &str) -> ChallengeParameters {
        let mut parameters = ChallengeParameters::default();
        parameters.set_realm(realm);
        parameters.set_resource_metadata(url);
        parameters
    }

    const URL: &str = "https://api.example.com/.well-known/oauth-protected-resource";

    #[test]
    fn a_challenge_has_its_parameters_in_quotation_marks() {
        let challenge = Challenge {
            error: Some("invalid_token"),
            scope: None,
        };
        let header = challenge.header(&parameters(r#"a "b" \c"#, URL)).unwrap();
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
        assert_eq!(
            bare.header(&ChallengeParameters::default()).unwrap(),
            "Bearer"
        );
    }

    #[test]
    fn a_parameter_that_cannot_stand_in_a_header_is_refused() {
        for realm in ["a\r\nb", "\u{e9}", "\t", "\0", "a\u{7f}"] {
            assert!(parameters(realm, URL).check().is_err(), "{realm:?}");
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
            assert!(parameters("a", url).check().is_err(), "{url:?}");
        }
        assert!(parameters("", URL).check().is_ok());
        assert!(
            parameters("a", "http://localhost:8080/m?x=y")
                .check()
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn a_realm_reads_as_it_was_written_or_is_refused(realm in any::<String>()) {
            let parameters = parameters(&realm, URL);
            let Some(content) = parameters.realm() else {
                prop_assert!(parameters.check().is_err());
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
