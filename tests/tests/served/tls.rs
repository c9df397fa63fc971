//! The contract over TLS, with a certificate that changes while the server runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use atlasent_authority::server::{ServeError, TlsFiles};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::support::{KEY, memory, server};

/// Writes a certificate for this machine to the two files. Returns the CA for a client.
fn certify(folder: &Path) -> (TlsFiles, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    fs::write(&files.certificate, cert.pem()).unwrap();
    fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    (files, cert.pem())
}

fn trusting(pem: &str) -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // The builder needs a default provider. A second installation has no effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(config)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served_over_tls_and_takes_a_new_certificate_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (files, first) = certify(folder.path());
    let listening = server(memory())
        .listen("127.0.0.1:0".parse().unwrap(), Some(files))
        .await
        .unwrap();
    let url = format!(
        "https://localhost:{}/v1-api-key-self",
        listening.address().port()
    );
    tokio::spawn(listening.run_until(std::future::pending()));
    let ask = async |client: &reqwest::Client| {
        let request = client.get(&url).bearer_auth(KEY);
        request
            .send()
            .await
            .map(|response| (response.status().as_u16(), response.version()))
    };
    assert_eq!(
        ask(&trusting(&first)).await.unwrap(),
        (200, reqwest::Version::HTTP_2)
    );
    let (_, second) = certify(folder.path());
    assert!(ask(&trusting(&second)).await.is_err());
    for n in 0.. {
        assert!(n < 300, "the new certificate is not taken");
        if ask(&trusting(&second)).await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(ask(&trusting(&first)).await.is_err());
    // The server does not answer plain HTTP there.
    let plain = url.replace("https", "http");
    assert!(
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(plain)
            .send()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn files_that_will_not_do_for_tls_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (good, _) = certify(folder.path());
    let other = folder.path().join("other.pem");
    fs::write(&other, "hunter2").unwrap();
    for files in [
        TlsFiles {
            certificate: other.clone(),
            ..good.clone()
        },
        TlsFiles {
            key: other.clone(),
            ..good.clone()
        },
        TlsFiles {
            key: folder.path().join("nowhere"),
            ..good.clone()
        },
    ] {
        let refused = server(memory())
            .listen("127.0.0.1:0".parse().unwrap(), Some(files))
            .await;
        let error = refused.map(drop).unwrap_err();
        assert!(matches!(error, ServeError::Tls { .. }));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
