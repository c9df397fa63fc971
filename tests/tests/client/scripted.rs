//! Tests of the scripted server, which the other tests rely on: it does what its script says.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use atlasent_tests::http::plain;
use atlasent_tests::server::{At, Fault, Reply, Request, Server, in_order, unscripted};
use reqwest::retry::never;
use reqwest::{StatusCode, Version};

const ASK: &[u8] =
    b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 2\r\n\r\n{}";

/// Sends the request on a new connection, and reads the whole response.
fn ask(server: &Server) -> (Vec<u8>, Option<ErrorKind>) {
    let mut socket = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    socket.write_all(ASK).unwrap();
    // If the server has already reset the connection, the shutdown fails.
    let _ = socket.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    let error = socket.read_to_end(&mut heard).err();
    (heard, error.map(|error| error.kind()))
}

fn text(server: &Server) -> String {
    String::from_utf8(ask(server).0).unwrap()
}

#[test]
fn a_request_is_remembered_as_it_came() {
    let server = Server::start(|_: &Request| Reply::json(200, "{}"));
    assert_eq!(
        text(&server),
        "HTTP/1.1 200 Scripted\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"
    );
    ask(&server);
    let requests = server.requests();
    let [first, second] = &requests[..] else {
        panic!("{requests:?}");
    };
    assert_eq!((&*first.method, &*first.target), ("POST", "/a?b=c"));
    assert_eq!((first.path(), first.query()), ("/a", Some("b=c")));
    assert_eq!((first.text(), first.version), ("{}", "HTTP/1.1"));
    assert_eq!(first.values("X-TWO"), [b"1", b"2"]);
    assert_eq!(
        (first.header("x-two"), first.header("host")),
        (None, Some("x"))
    );
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!((first.connection, second.connection), (0, 1));
}

#[test]
fn an_answer_is_framed_as_it_is_scripted() {
    let json = || Reply::json(200, "{}");
    let typed = "content-type: application/json\r\n\r\n";
    let server = Server::start(in_order([
        json().chunked(1),
        json().until_closed(),
        json().claims(1),
        json().http10().informational(103),
        json().header("x-odd", b"\xff"),
        json().followed_by(*b"extra{}"),
        Reply::status(204),
        Reply::raw(*b"nonsense"),
    ]));
    let expected = [
        format!(
            "HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n{typed}1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n"
        ),
        format!("HTTP/1.1 200 Scripted\r\n{typed}{{}}"),
        format!("HTTP/1.1 200 Scripted\r\ncontent-length: 1\r\n{typed}{{}}"),
        format!(
            "HTTP/1.1 103 Wait\r\n\r\nHTTP/1.0 200 Scripted\r\ncontent-length: 2\r\n{typed}{{}}"
        ),
    ];
    for expected in expected {
        assert_eq!(text(&server), expected);
    }
    assert!(
        ask(&server)
            .0
            .windows(9)
            .any(|window| window == b"x-odd: \xff\r")
    );
    assert!(text(&server).ends_with("{}extra{}"));
    assert_eq!(text(&server), "HTTP/1.1 204 Scripted\r\n\r\n");
    assert_eq!(text(&server), "nonsense");
    assert!(text(&server).starts_with("HTTP/1.1 418 "));
}

#[test]
fn a_fault_comes_where_it_is_scripted() {
    let places = [At::Start, At::InHead, At::Body, At::InBody, At::End];
    let whole = "HTTP/1.1 200 Scripted\r\ncontent-length: 4\r\ncontent-type: a\r\n\r\n{\"\"}".len();
    let lengths = [0, (whole - 4) / 2, whole - 4, whole - 2, whole];
    for (place, length) in places.into_iter().zip(lengths) {
        for fault in [Fault::Reset, Fault::Close, Fault::Refuse, Fault::GoAway] {
            let reply = Reply::bytes(200, "a", "{\"\"}").fault(fault, place);
            let server = Server::start(in_order([reply]));
            let (heard, error) = ask(&server);
            assert_eq!(heard.len(), length, "{fault:?} {place:?}");
            let reset = fault == Fault::Reset;
            assert_eq!(
                error,
                reset.then_some(ErrorKind::ConnectionReset),
                "{fault:?} {place:?}"
            );
        }
    }
}

#[test]
fn a_stall_lasts_until_the_client_goes_away() {
    for place in [At::Start, At::InHead, At::Body, At::InBody, At::End] {
        let reply = Reply::json(200, "{ }").fault(Fault::Stall, place).pieces(7);
        let server = Server::start(in_order([reply]));
        let mut socket = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
        socket.write_all(ASK).unwrap();
        assert!(server.comes_to(|server| server.busy() == 1), "{place:?}");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let error = socket.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut
        ));
        assert_eq!((server.busy(), server.open()), (1, 1), "{place:?}");
        drop(socket);
        assert!(
            server.comes_to(|server| server.busy() + server.open() == 0),
            "{place:?}"
        );
    }
}

#[tokio::test]
async fn http2_says_and_hears_the_same() {
    let server = Server::start_http2(|request: &Request| match request.path() {
        "/whole" => Reply::json(201, "{ }")
            .informational(103)
            .header("x-odd", b"\xff")
            .pieces(1),
        "/raw" => Reply::raw("x"),
        _ => unscripted(),
    });
    let client = plain().http2_prior_knowledge().build().unwrap();
    let url = server.url();
    let answer = client
        .post(format!("{url}/whole?q"))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.headers()["x-odd"].as_bytes(), b"\xff");
    assert_eq!(answer.text().await.unwrap(), "{ }");
    assert!(client.get(format!("{url}/raw")).send().await.is_err());
    let request = &server.requests()[0];
    assert_eq!((&*request.target, request.version), ("/whole?q", "HTTP/2"));
    assert_eq!((request.text(), &*request.method), ("{}", "POST"));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_has_the_same_faults() {
    for place in [At::Start, At::InHead, At::Body, At::InBody, At::End] {
        for fault in [
            Fault::Stall,
            Fault::Reset,
            Fault::Close,
            Fault::Refuse,
            Fault::GoAway,
        ] {
            let server =
                Server::start_http2(move |_: &Request| Reply::json(200, "{}").fault(fault, place));
            let client = plain()
                .retry(never())
                .http2_prior_knowledge()
                .timeout(Duration::from_millis(match fault {
                    Fault::Stall if place != At::End => 20,
                    _ => 30_000,
                }))
                .build()
                .unwrap();
            let answer = async { client.get(server.url()).send().await?.text().await };
            match answer.await {
                Ok(text) => assert!(place == At::End && text == "{}", "{fault:?} {place:?}"),
                Err(error) => {
                    assert!(place != At::End, "{fault:?} {place:?} {error:?}");
                    assert_eq!(
                        error.is_timeout(),
                        fault == Fault::Stall,
                        "{fault:?} {place:?} {error:?}"
                    );
                }
            }
            assert!(
                server.comes_to(|server| server.busy() == 0),
                "{fault:?} {place:?}"
            );
            drop(client);
            assert!(
                server.comes_to(|server| server.open() == 0),
                "{fault:?} {place:?}"
            );
        }
    }
}
