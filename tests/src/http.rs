//! Builds an HTTP client without redirects, proxies and trusted certificates.

#![allow(clippy::unwrap_used, reason = "what tests call may panic as tests do")]

use std::sync::{Arc, LazyLock};

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// Builds a client that follows no redirect and trusts no certificate. `reqwest` needs a TLS
/// configuration even for plain HTTP.
pub fn plain() -> ClientBuilder {
    static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    });
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .tls_backend_preconfigured(TLS.clone())
}
