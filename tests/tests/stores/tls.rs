//! TLS to the database: the certificate is verified, or the connection fails.

use std::net::TcpListener;
use std::process::Command;

use atlasent_authority::PostgresStore;
use atlasent_tests::postgres::PrivatePostgres;
use base64ct::{Base64, Encoding};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{at, intact, passes_in_child, record};

/// The URL of a server, for the process that trusts its certificate.
const TRUSTING: &str = "ATLASENT_TEST_TRUSTED_DATABASE";

/// Returns a server with a certificate for `localhost`, its port, and the certificate of the CA.
fn server(tls: bool) -> Option<(PrivatePostgres, u16, String)> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let settings = [
        "listen_addresses = '127.0.0.1'",
        &format!("port = {port}"),
        if tls { "ssl = on" } else { "ssl = off" },
        "ssl_cert_file = '../server.crt'",
        "ssl_key_file = '../server.key'",
    ];
    let files = [
        ("server.crt", &*pem("CERTIFICATE", certificate.der())),
        ("server.key", &*pem("PRIVATE KEY", &key.serialize_der())),
    ];
    let server = PrivatePostgres::start(&settings, &files)?;
    Some((server, port, pem("CERTIFICATE", authority.der())))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<_> = (text.as_bytes().chunks(64))
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

async fn refused(url: &str) -> String {
    PostgresStore::connect(url).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_verified_and_has_to_be_for_the_host() {
    if let Ok(url) = std::env::var(TRUSTING) {
        let store = PostgresStore::connect(&url).await.unwrap();
        record(&store, "policy.loaded", None, at(0)).await;
        assert_eq!(intact(&store).await, 1);
        let text = refused(&url.replace("localhost", "127.0.0.1")).await;
        assert!(text.contains("certificate"), "{text}");
        return;
    }
    let started = tokio::task::spawn_blocking(|| server(true)).await.unwrap();
    let Some((_server, port, authority)) = started else {
        return;
    };
    let url = format!("postgres://postgres@localhost:{port}/postgres");
    for mode in ["require", "prefer"] {
        let text = refused(&format!("{url}?sslmode={mode}")).await;
        assert!(text.contains("certificate"), "{text}");
    }

    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, authority).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env("SSL_CERT_FILE", &trusted)
        .env(TRUSTING, format!("{url}?sslmode=require"));
    let test = "tls::a_certificate_is_verified_and_has_to_be_for_the_host";
    passes_in_child(&mut command, test);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_requires_tls_makes_no_connection_without_it() {
    let started = tokio::task::spawn_blocking(|| server(false)).await.unwrap();
    let Some((_server, port, _)) = started else {
        return;
    };
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let text = refused(&format!("{url}?sslmode=require")).await;
    assert!(text.contains("TLS"), "{text}");
    PostgresStore::connect(&format!("{url}?sslmode=prefer"))
        .await
        .unwrap();
    PostgresStore::connect(&url).await.unwrap();
}
