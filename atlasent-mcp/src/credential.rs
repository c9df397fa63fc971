//! A secret of an HTTP service that only a permit puts on a request (feature `credential`).
//!
//! An agent that holds an API key can use it around every policy. [`HostCredential`] keeps the key
//! away from it: the key goes to one host, and only on requests that are sent with a [`Permit`] for
//! an action that the key is for. A permit of the same authority for anything else sends nothing.

use std::fmt;

use atlasent::authority::{IssuerId, issuer_of};
use atlasent::text::is_loopback_host;
use atlasent::{Authority, Error, Permit};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Request, Response, Url};
use secrecy::{ExposeSecret, SecretString};

/// A secret for one host, and the HTTP client that sends it.
///
/// The client follows no redirects, since it would carry the secret to another host, and repeats no
/// request.
///
/// ```no_run
/// use atlasent::{AnyAction, AuthorityExt, testing::MockAuthority};
/// use atlasent_mcp::credential::HostCredential;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = MockAuthority::new().allow("ticket.close");
/// let tickets = HostCredential::bearer("https://tickets.example", "the key".to_owned().into())?
///     .granted_by(&authority)?
///     .for_action("ticket.close")
///     .build(reqwest::Client::builder())?;
///
/// let permit = authority.protect("support-bot", AnyAction::new("ticket.close")?).await?;
/// let request = reqwest::Request::new(reqwest::Method::POST, "https://tickets.example/7/close".parse()?);
/// let response = tickets.send(&permit, request).await?;
/// # Ok(()) }
/// ```
pub struct HostCredential {
    secret: HostSecret,
    client: Client,
}

/// A secret for one host, before [`build`](Self::build).
pub struct HostSecret {
    origin: Url,
    header: HeaderName,
    value: SecretString,
    issuer: Option<IssuerId>,
    /// The names of the actions whose permits release the secret. Empty in a guard, where each
    /// message carries the secret under its own permit.
    actions: Vec<String>,
}

/// Why a request was not sent, or got no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The permit does not allow the request.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The request goes to another host than the one of the secret.
    #[error("the secret is for `{expected}`, and the request goes to `{found}`")]
    OtherHost {
        /// The scheme, host and port of the secret.
        expected: String,
        /// Those of the request.
        found: String,
    },
    /// The secret or its host cannot be used. The text repeats no secret.
    #[error("{0}")]
    Invalid(String),
    /// The host gave no response.
    #[error("no response: {0}")]
    Http(reqwest::Error),
}

impl HostCredential {
    /// Creates a secret that is sent as `Authorization: Bearer`.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn bearer(host: &str, token: SecretString) -> Result<HostSecret, CredentialError> {
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        Self::header(host, AUTHORIZATION, value)
    }

    /// Creates a secret that is sent as the value of a header. `host` is the scheme, the host and
    /// the port of the service, as in `https://tickets.example`.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Invalid`] for a host that is no such URL, or plain HTTP to another
    /// machine, and for a secret that no header can hold.
    pub fn header(
        host: &str,
        header: HeaderName,
        value: SecretString,
    ) -> Result<HostSecret, CredentialError> {
        let origin = origin(host)?;
        header_value(&value)?;
        Ok(HostSecret {
            origin,
            header,
            value,
            issuer: None,
            actions: Vec::new(),
        })
    }

    /// Sends a request with the secret.
    ///
    /// # Errors
    ///
    /// [`CredentialError`]; nothing was sent unless it is [`Http`](CredentialError::Http).
    pub async fn send<A>(
        &self,
        permit: &Permit<A>,
        mut request: Request,
    ) -> Result<Response, CredentialError> {
        self.secret.release(permit)?.put(&mut request)?;
        let response = self.client.execute(request).await;
        response.map_err(|error| CredentialError::Http(error.without_url()))
    }
}

impl HostSecret {
    /// Accepts the permits of one authority. Any type can implement
    /// [`Authority`] and allow everything, so a secret accepts permits of one alone.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Refused`] when the authority has no issuer.
    pub fn granted_by<P: Authority + ?Sized>(
        mut self,
        authority: &P,
    ) -> Result<Self, CredentialError> {
        self.issuer = Some(issuer_of(authority)?);
        Ok(self)
    }

    /// Accepts the permits for an action, by its name. A second call also accepts the permits for
    /// another action.
    #[must_use]
    pub fn for_action(mut self, name: impl Into<String>) -> Self {
        self.actions.push(name.into());
        self
    }

    /// Builds the client that sends the secret, with the caller's settings. Settings that could
    /// send or log the secret elsewhere are overridden.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Invalid`] when no authority or no action was named, and
    /// [`CredentialError::Http`] for settings that cannot be used.
    pub fn build(self, settings: ClientBuilder) -> Result<HostCredential, CredentialError> {
        if self.issuer.is_none() {
            return Err(CredentialError::Invalid(
                "the secret names no authority: call `granted_by`".to_owned(),
            ));
        }
        if self.actions.is_empty() {
            return Err(CredentialError::Invalid(
                "the secret names no action: call `for_action`".to_owned(),
            ));
        }
        let settings = settings
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connection_verbose(false);
        let client = settings.build().map_err(CredentialError::Http)?;
        Ok(HostCredential {
            secret: self,
            client,
        })
    }

    /// Releases the secret. The permit has to be active, granted by the named authority, and for
    /// one of the named actions, if there are any.
    pub(crate) fn release<A>(&self, permit: &Permit<A>) -> Result<SecretHeader, CredentialError> {
        let Some(issuer) = self.issuer else {
            return Err(CredentialError::Invalid(
                "the secret names no authority".to_owned(),
            ));
        };
        permit.require_issuer(issuer)?;
        self.require_action(permit)?;
        permit.require_active()?;
        Ok(SecretHeader {
            origin: self.origin.clone(),
            header: self.header.clone(),
            value: header_value(&self.value)?,
        })
    }

    fn require_action<A>(&self, permit: &Permit<A>) -> Result<(), Error> {
        let mut checked = Ok(());
        for action in &self.actions {
            checked = permit.require_action(action);
            if checked.is_ok() {
                break;
            }
        }
        checked
    }
}

/// A secret that a permit released, for requests to one host.
#[derive(Clone)]
pub(crate) struct SecretHeader {
    origin: Url,
    header: HeaderName,
    value: HeaderValue,
}

impl SecretHeader {
    /// Puts the secret on a request, if the request goes to the host of the secret.
    pub(crate) fn put(&self, request: &mut Request) -> Result<(), CredentialError> {
        let (expected, found) = (self.origin.origin(), request.url().origin());
        if found != expected {
            return Err(CredentialError::OtherHost {
                expected: expected.ascii_serialization(),
                found: found.ascii_serialization(),
            });
        }
        let headers = request.headers_mut();
        headers.insert(self.header.clone(), self.value.clone());
        Ok(())
    }
}

/// Prints the host and the header, never the secret.
impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretHeader")
            .field("host", &self.origin.origin().ascii_serialization())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Reads the origin of a service. Over plain HTTP, a secret is sent to this machine only.
fn origin(host: &str) -> Result<Url, CredentialError> {
    let invalid = |why: &str| Err(CredentialError::Invalid(why.to_owned()));
    let Ok(url) = Url::parse(host) else {
        return invalid("the host of a secret is not a URL such as `https://tickets.example`");
    };
    let is_bare = url.username().is_empty() && url.password().is_none();
    if !is_bare || !url.has_host() {
        return invalid("the host of a secret has no host name, or a user or password");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => invalid("a secret is sent over `https` only, except to this machine"),
    }
}

/// Whether a URL is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

fn header_value(value: &SecretString) -> Result<HeaderValue, CredentialError> {
    let value = HeaderValue::from_str(value.expose_secret());
    let mut value = value.map_err(|_| {
        CredentialError::Invalid("the secret holds a character that no header can hold".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Prints the host and the header, never the secret.
impl fmt::Debug for HostSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSecret")
            .field("host", &self.origin.origin().ascii_serialization())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Prints the host and the header, never the secret.
impl fmt::Debug for HostCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.secret, f)
    }
}
