//! Who calls the authority, and what its events say of them.

use std::fmt;
use std::net::IpAddr;

use crate::trail::chain::NewEvent;

/// Who calls: an API key of the server, or code of this process.
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
    is_embedded: bool,
}

impl<'a> Caller<'a> {
    /// A caller with a secret that no store holds. Events name the caller by its id.
    #[must_use]
    pub const fn new(id: &'a str, secret: &'a [u8]) -> Self {
        Self {
            id,
            secret,
            environment: None,
            address: None,
            request_id: None,
            is_embedded: false,
        }
    }

    /// Code of this process, which has no API key.
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

    /// Sets the address that the caller calls from, for the events. A second call replaces the
    /// first.
    #[must_use]
    pub const fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the id of the call (`X-Request-ID`), for the events. It is not the `request_id` of an
    /// evaluate request, by which an answer can be had again. A second call replaces the first.
    #[must_use]
    pub const fn request_id(mut self, request_id: &'a str) -> Self {
        self.request_id = Some(request_id);
        self
    }

    /// The id of the caller.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id
    }

    pub(crate) fn secret(&self) -> &'a [u8] {
        self.secret
    }

    /// What the events of this call say of it.
    pub(crate) fn attribution(&self) -> Attribution {
        Attribution {
            key_id: (!self.is_embedded).then(|| self.id.to_owned()),
            environment: self.environment.map(str::to_owned),
            client: self.address,
            request_id: self.request_id.map(str::to_owned),
        }
    }
}

impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.id).finish()
    }
}

/// The caller of a change, for its events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attribution {
    /// The API key. Code of this process has none.
    pub(crate) key_id: Option<String>,
    /// The environment of the key.
    pub(crate) environment: Option<String>,
    client: Option<IpAddr>,
    pub(crate) request_id: Option<String>,
}

impl Attribution {
    /// Whether a `test` key calls.
    pub(crate) fn is_test(&self) -> bool {
        self.environment.as_deref() == Some("test")
    }

    /// Names the caller in an event (contract, part B).
    pub(crate) fn sign(self, event: NewEvent) -> NewEvent {
        event
            .with_some("key_id", self.key_id)
            .with_some("key_environment", self.environment)
            .with_some("client", self.client.map(|address| address.to_string()))
            .with_some("x_request_id", self.request_id)
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
    fn code_of_this_process_has_no_key() {
        let event = Caller::embedded(b"s")
            .attribution()
            .sign(NewEvent::new("x"));
        assert!(event.payload.is_empty());
    }
}
