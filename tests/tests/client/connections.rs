//! Connections: reused, replaced when they have ended, over HTTP/2 if the server offers it,
//! and only to servers whose certificate is trusted.

use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::{AnyAction, AuthorityExt, Client, blocking};
use atlasent_tests::http::plain;
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::cases::{ACTION, AGENT, Call, TOKEN};
use crate::genuine;
use crate::support::{client, http2_client, ms, question};

fn action() -> AnyAction {
    AnyAction::new(ACTION).unwrap()
}

/// Settings of an HTTP client that trusts only this server.
fn trusting(server: &Server) -> reqwest::ClientBuilder {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(server.certificate()))
        .unwrap();
    let mut tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(tls)
}

#[tokio::test]
async fn http2_is_used_where_it_is_offered_and_http1_otherwise() {
    for (offered, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2"),
        (&["http/1.1", "h2"], "HTTP/2"),
        (&["h2"], "HTTP/2"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let server = Server::start_tls(offered, genuine::reply);
        let client = client(server.url())
            .http_client(trusting(&server))
            .build()
            .unwrap();
        drop(client.protect(AGENT, action()).await.unwrap());
        for request in server.requests() {
            // The server decides whose preference counts.
            let either = offered.len() == 2;
            assert!(
                request.version == version || either,
                "{offered:?}: {}",
                request.version
            );
        }
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_once_and_nothing_is_sent() {
    for offered in [&["h2"][..], &["http/1.1"]] {
        let server = Server::start_tls(offered, genuine::reply);
        let time = VirtualTime::new();
        let ours = client(server.url()).virtual_time(&time).build().unwrap();
        let given = client(server.url())
            .virtual_time(&time)
            .http_client(plain())
            .build()
            .unwrap();
        for client in [ours, given] {
            let error = client.evaluate(&question()).await.unwrap_err();
            assert_eq!(error.code(), Some(Code::Network), "{error}");
            assert!(error.to_string().contains("secure"), "{error}");
        }
        let blocking =
            blocking::Client::from(client(server.url()).virtual_time(&time).build().unwrap());
        let waited =
            tokio::task::spawn_blocking(move || blocking.protect(AGENT, action()).map(drop));
        assert_eq!(
            waited.await.unwrap().unwrap_err().code(),
            Some(Code::Network)
        );
        assert_eq!((server.requests().len(), server.accepted()), (0, 3));
        assert!(time.waits().is_empty());
    }
}

#[tokio::test]
async fn a_server_without_tls_gets_no_request() {
    let server = genuine::server();
    let url = server.url().replace("http:", "https:");
    let time = VirtualTime::new();
    let client = client(&url)
        .virtual_time(&time)
        .http_client(plain())
        .build()
        .unwrap();
    let error = client.evaluate(&question()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Network), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn connections_are_used_again() {
    for http2 in [false, true] {
        let (server, builder) = match http2 {
            true => {
                let server = Server::start_http2(genuine::reply);
                let builder = http2_client(server.url());
                (server, builder)
            }
            false => {
                let server = genuine::server();
                let builder = client(server.url());
                (server, builder)
            }
        };
        let client = builder.build().unwrap();
        for _ in 0..50 {
            drop(client.clone().protect(AGENT, action()).await.unwrap());
        }
        assert_eq!(server.requests().len(), 100);
        // A call may start before the former call has returned its connection to the pool.
        assert!(server.accepted() <= if http2 { 1 } else { 5 }, "{server:?}");
        let many = futures_util::future::join_all((0..64).map(|_| client.protect(AGENT, action())));
        assert!(many.await.iter().all(Result::is_ok));
        assert!(server.accepted() <= if http2 { 1 } else { 70 });
    }
}

/// The client notices the end of the connection before the next call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_closed_between_two_calls_is_made_anew() {
    let closing = |request: &Request| genuine::reply(request).fault(Fault::Close, At::End);
    for http2 in [false, true] {
        let server = if http2 {
            Server::start_http2(closing)
        } else {
            Server::start(closing)
        };
        let builder = if http2 {
            http2_client(server.url())
        } else {
            client(server.url())
        };
        let client = builder.build().unwrap();
        for n in 1..20 {
            client.evaluate(&question()).await.unwrap();
            assert_eq!(server.accepted(), n);
            assert!(server.comes_to(|server| server.open() == 0));
        }
    }
}

/// Bytes after a response are not the response to the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next() {
    let forged = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
        Call::Verify.yes().to_string().len(),
        Call::Verify.yes()
    );
    for length in [forged.len(), 20, 1] {
        let forged = forged[..length].to_owned();
        let server = Server::start(move |request: &Request| match request.path() {
            "/v1-evaluate" => Reply::json(200, Call::Evaluate.yes()).followed_by(forged.as_bytes()),
            _ => Reply::json(200, r#"{"valid":false,"outcome":"deny"}"#),
        });
        for _ in 0..100 {
            let client = client(server.url())
                .virtual_time(&VirtualTime::new())
                .build()
                .unwrap();
            for _ in 0..2 {
                assert!(client.protect(AGENT, action()).await.is_err());
            }
        }
    }
}

#[tokio::test]
async fn no_redirect_leads_to_an_answer() {
    for status in [301, 302, 303, 307, 308] {
        for call in Call::BOTH {
            for here in [true, false] {
                let other = genuine::server();
                let elsewhere = other.url().to_owned();
                let to = if here {
                    "/allowed".to_owned()
                } else {
                    elsewhere.clone()
                };
                let server = Server::start(move |request: &Request| {
                    let location = format!("{to}{}", call.path());
                    match request.path() {
                        path if path == call.path() => {
                            Reply::json(status, call.yes()).header("location", location)
                        }
                        path => {
                            let mut request = request.clone();
                            request.target = path.trim_start_matches("/allowed").to_owned();
                            genuine::reply(&request)
                        }
                    }
                });
                let asks = if call == Call::Evaluate { 1 } else { 2 };
                let ours = client(server.url()).build().unwrap();
                let error = ours.protect(AGENT, action()).await.unwrap_err();
                assert_eq!(error.code(), Some(Code::BadResponse), "{status}");
                assert_eq!(error.failure().unwrap().status(), Some(status));
                assert_eq!(
                    (server.requests().len(), other.requests().len()),
                    (asks, 0),
                    "{status} {call:?}"
                );

                // The caller's settings cannot change this.
                let follows = plain().redirect(Policy::limited(5));
                let given = client(server.url()).http_client(follows).build().unwrap();
                let error = given.protect(AGENT, action()).await.unwrap_err();
                assert_eq!(error.code(), Some(Code::BadResponse), "{status}");
                assert_eq!(
                    (server.requests().len(), other.requests().len()),
                    (2 * asks, 0),
                    "{status} {call:?} {here}"
                );
            }
        }
    }
}

/// A stream that the server refused was not processed (RFC 9113, 8.7), so a retry is
/// safe; but the number of retries is limited.
#[tokio::test]
async fn a_refused_stream_is_not_asked_again_without_end() {
    for fault in [Fault::Refuse, Fault::GoAway] {
        let server =
            Server::start_http2(move |_: &Request| Reply::status(200).fault(fault, At::Start));
        let client = http2_client(server.url())
            .virtual_time(&VirtualTime::new())
            .build()
            .unwrap();
        let error = client.evaluate(&question()).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Network), "{fault:?}");
        assert!(
            server.requests().len() <= 3,
            "{fault:?}: {}",
            server.requests().len()
        );
    }
}

#[tokio::test]
async fn a_client_needs_a_runtime_and_says_so() {
    let server = genuine::server();
    let client: Client = client(server.url()).timeout(ms(1000)).build().unwrap();
    let waited = std::thread::spawn(move || {
        futures_executor::block_on(client.protect(AGENT, action())).map(drop)
    });
    let error = waited.join().unwrap().unwrap_err();
    assert!(
        matches!(&error, atlasent::Error::Config(error) if error.message().contains("runtime")),
        "{error:?}"
    );
    assert!(
        !server
            .requests()
            .iter()
            .any(|request| request.text().contains(TOKEN))
    );
}
