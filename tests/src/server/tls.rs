//! Creates a certificate for the loopback address, and a TLS configuration with it.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A TLS configuration that offers these protocols (ALPN).
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The certificate in DER. Only clients that are given it trust it.
    pub(super) certificate: Vec<u8>,
}

impl Tls {
    pub(super) fn offering(protocols: &[&str]) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("the name is good");
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for them")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::from(key))
            .expect("certificate and key belong together");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: cert.der().to_vec(),
        }
    }
}
