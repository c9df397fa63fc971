//! A server that is reached over streamable HTTP.

mod backoff;
mod connection;

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::credential::is_loopback;
use crate::guard::credentials::Credentials;
use crate::guard::link::ServerLink;
use connection::Connection;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A server that is reached over streamable HTTP.
#[derive(Debug)]
pub struct HttpUpstream {
    url: Url,
    client: Client,
}

/// Why a server cannot be reached over HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The URL cannot be used.
    #[error("the URL of a server is `https`, or `http` to this machine")]
    Url,
    /// The URL has a user or a password. The error does not repeat them.
    #[error(
        "the URL of a server has a user or password, which is never sent: remove it, and send credentials in a header"
    )]
    UserOrPassword,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up with this system's CA certificates: {0}")]
    Tls(#[from] rustls::Error),
    /// The client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpUpstream {
    /// Creates a server at a URL. Redirects are not followed: they would carry what was authorized
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] for a URL that is neither `https` nor on this machine, or that has a user
    /// or a password, or when this system has no certificates.
    pub fn new(url: Url) -> Result<Self, UpstreamError> {
        let is_local = is_loopback(&url);
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
            return Err(UpstreamError::Url);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UpstreamError::UserOrPassword);
        }
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?;
        let verified = match url.scheme() {
            "https" => builder.with_platform_verifier()?,
            _ => builder.with_root_certificates(RootCertStore::empty()),
        };
        let mut tls = verified.with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut settings = Client::builder()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .tls_backend_preconfigured(tls);
        if is_local {
            settings = settings.no_proxy();
        }
        let client = settings.build()?;
        Ok(Self { url, client })
    }

    /// Opens a link for one session. Nothing is sent before the session's first message.
    pub(crate) fn connect(self: &Arc<Self>, credentials: Arc<Credentials>) -> ServerLink {
        Connection::open(Arc::clone(self), credentials)
    }
}
