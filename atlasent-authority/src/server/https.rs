//! What every HTTP client of the server shares: TLS and error texts.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// Returns the TLS of a client. It trusts the CA certificates of a file, or else the system's.
///
/// Without `https`, it needs no certificates: plain HTTP works on machines that have none, too.
pub(super) fn tls(ca_file: Option<&Path>, https: bool) -> io::Result<ClientConfig> {
    let provider = rustls::crypto::ring::default_provider().into();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let verified = match ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None if https => builder.with_platform_verifier().map_err(|error| {
            io::Error::other(format!(
                "no TLS with this system's CA certificates: {error}; install them (`ca-certificates`)"
            ))
        })?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let mut tls = verified.with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let unusable = |why: String| {
        let path = path.display();
        io::Error::new(
            ErrorKind::InvalidInput,
            format!("`{path}` holds no CA certificate in PEM: {why}"),
        )
    };
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(path);
    for certificate in read.map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        (roots.add(certificate)).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(roots)
}

/// An error with all its causes.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
