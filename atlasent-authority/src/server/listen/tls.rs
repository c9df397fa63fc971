//! The server's certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ServeError;

/// Where the certificate of the server and its key are, both in PEM. They are read again when they
/// change.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those that it depends on.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The certificate that is in use.
#[derive(Clone)]
pub(crate) struct Certificate {
    files: TlsFiles,
    seen: [Option<SystemTime>; 2],
    config: RustlsConfig,
}

impl Certificate {
    pub(crate) fn load(files: TlsFiles) -> Result<Self, ServeError> {
        let seen = files.look();
        let config = RustlsConfig::from_config(Arc::new(files.config()?));
        Ok(Self {
            files,
            seen,
            config,
        })
    }

    /// The TLS configuration, which changes with the files.
    pub(crate) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again, if they have changed. Those that will not do change nothing.
    pub(crate) fn refresh(&mut self, asked: bool) {
        let now = self.files.look();
        if now == self.seen && !asked {
            return;
        }
        self.seen = now;
        match self.files.config() {
            Ok(config) => {
                self.config.reload_from_config(Arc::new(config));
                tracing::info!(target: "atlasent", "a new certificate is in use");
            }
            Err(error) => {
                tracing::error!(target: "atlasent", %error, "the former certificate stays in use");
            }
        }
    }
}

impl TlsFiles {
    fn look(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| fs::metadata(path).ok()?.modified().ok())
    }

    fn config(&self) -> Result<ServerConfig, ServeError> {
        let refuse = |path: &Path, why: String| ServeError::Tls {
            path: path.display().to_string(),
            why,
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| refuse(&self.certificate, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| refuse(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(&self.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| refuse(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
