//! The caller of an authority, and how its events name the caller.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::ledger::approval::Asker;
use crate::trail::chain::NewEvent;

/// The caller of an authority: an API key of the server, or code of this process.
///
/// ```
/// use atlasent_authority::Caller;
///
/// let caller = Caller::new("key_7", b"the API key itself")
///     .environment("live")
///     .address("10.0.0.7".parse()?)
///     .request_id("req-0123456789");
/// assert_eq!(caller.id(), "key_7");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    id: &'a str,
    secret: &'a [u8],
    environment: Option<&'a str>,
    address: Option<IpAddr>,
    request_id: Option<&'a str>,
    required_schema: Option<&'a str>,
    principal: Option<&'a str>,
    is_embedded: bool,
    hides_secret: bool,
}

impl<'a> Caller<'a> {
    /// Creates a caller with an id, which its events name, and a secret, from which its permit
    /// tokens are derived. No store keeps the secret.
    #[must_use]
    pub const fn new(id: &'a str, secret: &'a [u8]) -> Self {
        Self {
            id,
            secret,
            environment: None,
            address: None,
            request_id: None,
            required_schema: None,
            principal: None,
            is_embedded: false,
            hides_secret: false,
        }
    }

    /// Creates the caller for code of this process, which has no API key.
    pub(crate) const fn embedded(secret: &'a [u8]) -> Self {
        let mut caller = Self::new("embedded", secret);
        caller.is_embedded = true;
        caller
    }

    /// Sets the environment of the caller's API key: `live` or `test`. A permit that was granted
    /// to a key of one environment does not exist for keys of another. A second call replaces the
    /// first.
    #[must_use]
    pub const fn environment(mut self, environment: &'a str) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Sets the caller's network address, which its events record. A second call replaces the
    /// first.
    #[must_use]
    pub const fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the id of the HTTP call (`X-Request-ID`), which its events record. It is not the
    /// `request_id` of an evaluate request, which makes a request repeatable. A second call
    /// replaces the first.
    #[must_use]
    pub const fn request_id(mut self, request_id: &'a str) -> Self {
        self.request_id = Some(request_id);
        self
    }

    /// Refuses to evaluate and to verify by policies whose schema is not the one that the caller
    /// was compiled with. `digest` is a
    /// [`Policies::schema_digest`](crate::Policies::schema_digest). A second call replaces the
    /// first.
    ///
    /// Such a call fails with [`Error::Failed`](atlasent::Error::Failed), whose source is a
    /// [`SchemaMismatch`](crate::SchemaMismatch). It records nothing, and uses no permit up.
    #[must_use]
    pub const fn require_schema(mut self, digest: &'a str) -> Self {
        self.required_schema = Some(digest);
        self
    }

    /// Sets the person that the API key belongs to. A person cannot approve what was asked with a
    /// key of theirs. A second call replaces the first.
    #[must_use]
    pub const fn principal(mut self, principal: &'a str) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Replaces the secret in what the chain records and approvers see of the caller's values. The
    /// secret must be an API key or a token of letters, digits, `-`, `_` and `.`, which stand for
    /// themselves in JSON.
    #[cfg(any(feature = "server", test))]
    pub(crate) const fn hide_secret(mut self) -> Self {
        self.hides_secret = true;
        self
    }

    /// Returns a text, or JSON, without the secret of a caller that [hides](Self::hide_secret) it.
    pub(crate) fn without_secret(&self, text: String) -> String {
        match std::str::from_utf8(self.secret) {
            Ok(secret) if self.hides_secret && text.contains(secret) => text.replace(secret, "…"),
            _ => text,
        }
    }

    /// Returns the digest of the schema that the caller requires.
    pub(crate) fn required_schema(&self) -> Option<&'a str> {
        self.required_schema
    }

    /// Returns the environment of the caller's API key.
    pub(crate) fn key_environment(&self) -> Option<&'a str> {
        self.environment
    }

    /// Returns the caller's id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id
    }

    pub(crate) fn secret(&self) -> &'a [u8] {
        self.secret
    }

    /// Returns what the events of this call record about the caller.
    pub(crate) fn attribution(&self) -> Attribution {
        Attribution {
            key_id: (!self.is_embedded).then(|| self.id.into()),
            environment: self.environment.map(Arc::from),
            client: self.address,
            request_id: self.request_id.map(Arc::from),
            principal: self.principal.map(Arc::from),
        }
    }
}

impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.id).finish()
    }
}

/// What an event records about its caller. Clones share its texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attribution {
    /// The id of the API key. Unset for code of this process.
    pub(crate) key_id: Option<Arc<str>>,
    /// The environment of the API key: `live` or `test`.
    pub(crate) environment: Option<Arc<str>>,
    client: Option<IpAddr>,
    pub(crate) request_id: Option<Arc<str>>,
    /// The person that the API key belongs to.
    principal: Option<Arc<str>>,
}

impl Attribution {
    /// Returns who asks, for a pending decision: none of them may approve it.
    pub(crate) fn askers(&self) -> Vec<Asker> {
        let key = self.key_id.as_deref().map(|id| Asker::Key(id.to_owned()));
        let principal = self.principal.as_deref();
        let principal = principal.map(|name| Asker::Principal(name.to_owned()));
        key.into_iter().chain(principal).collect()
    }

    /// Returns whether the API key belongs to the `test` environment.
    pub(crate) fn is_test(&self) -> bool {
        self.environment.as_deref() == Some("test")
    }

    /// Adds the caller to an event (contract, part B).
    pub(crate) fn sign(&self, event: NewEvent) -> NewEvent {
        event
            .with_some("key_id", self.key_id.clone())
            .with_some("key_environment", self.environment.clone())
            .with_some("client", self.client.map(|address| address.to_string()))
            .with_some("x_request_id", self.request_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_does_not_show_its_secret() {
        assert_eq!(
            format!("{:?}", Caller::new("k", b"hunter2")),
            r#"Caller("k")"#
        );
    }

    #[test]
    fn only_a_secret_that_is_to_be_hidden_is_replaced() {
        let json = || r#"{"token":"my ask_test_1!","ask_test_1":true}"#.to_owned();
        let caller = Caller::new("k", b"ask_test_1");
        assert_eq!(caller.without_secret(json()), json());
        let hidden = caller.hide_secret().without_secret(json());
        assert_eq!(hidden, r#"{"token":"my …!","…":true}"#);
    }

    #[test]
    fn code_of_this_process_has_no_key() {
        let event = Caller::embedded(b"s")
            .attribution()
            .sign(NewEvent::new("x"));
        assert!(event.payload.is_empty());
    }
}
