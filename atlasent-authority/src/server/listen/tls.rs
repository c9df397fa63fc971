//! TLS: the server's certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ServeError;

/// The files of the server's certificate and its private key, both in PEM. The server reads them
/// again when they change.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// The certificate that is in use.
#[derive(Clone)]
pub(crate) struct Certificate {
    files: TlsFiles,
    modified: [Option<SystemTime>; 2],
    config: RustlsConfig,
}

impl Certificate {
    pub(crate) fn load(files: TlsFiles) -> Result<Self, ServeError> {
        let modified = files.modified();
        let config = RustlsConfig::from_config(Arc::new(files.load()?));
        Ok(Self {
            files,
            modified,
            config,
        })
    }

    /// The TLS configuration, which changes with the files.
    pub(crate) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again if they have changed, or if a signal asks for it. Unusable files leave
    /// the former certificate in use.
    pub(crate) fn refresh(&mut self, asked: bool) {
        let modified = self.files.modified();
        if modified == self.modified && !asked {
            return;
        }
        self.modified = modified;
        match self.files.load() {
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
    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| fs::metadata(path).ok()?.modified().ok())
    }

    fn load(&self) -> Result<ServerConfig, ServeError> {
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
