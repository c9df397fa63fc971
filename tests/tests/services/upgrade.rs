//! Tests WebSockets behind a permit: they open only with one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atlasent::testing::MockAuthority;
use atlasent_axum::{ProtectLayer, RequestTarget};
use atlasent_tests::cases::ACTION;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Version};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::agents::{ati, bad_tokens, good_token};
use crate::passing::{PATH, all, allowing, guarded};
use crate::raw::Raw;
use crate::serving::Served;
use crate::ways::App;
use crate::wire::soon;

async fn socket(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    app.ran.hit();
    upgrade.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(text) = message {
            let text = format!("{} back", text.as_str());
            socket.send(Message::text(text)).await.unwrap();
        }
    }
}

/// The example of RFC 6455 §1.3: a key, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn opening(token: Option<&str>) -> String {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    format!(
        "GET {PATH} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{}\r\n",
        token.unwrap_or_default()
    )
}

/// Returns a short text as a frame of a client (RFC 6455 §5.2), with a mask that changes nothing.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_socket_is_opened_with_a_permit_and_carries_messages_both_ways() {
    let app = allowing();
    for (name, serve) in all(&app, socket) {
        let served = Served::new(serve).await;
        let before = app.ran.count();
        let mut raw = Raw::connect(served.address).await;
        raw.write(opening(Some(good_token()))).await;
        let head = raw.head().await.unwrap();
        assert_eq!(head.status, 101, "{name}: {head:?}");
        assert_eq!(head.header("upgrade"), Some("websocket"), "{name}");
        assert_eq!(head.header("sec-websocket-accept"), Some(ACCEPT), "{name}");
        for text in ["one", "two"] {
            raw.write(frame(text)).await;
            let back = format!("{text} back");
            assert_eq!(
                raw.read(2).await,
                [0x81, u8::try_from(back.len()).unwrap()],
                "{name}"
            );
            assert_eq!(raw.read(back.len()).await, back.as_bytes(), "{name}");
        }
        assert_eq!(app.ran.count(), before + 1, "{name}");
    }
    // The permit was for opening: three of the four requests obtained one.
    assert_eq!(app.scripted.calls().len(), 3 * 2);
}

#[tokio::test]
async fn no_socket_is_opened_without_a_permit() {
    let app = App::new();
    let bad = bad_tokens();
    let strangers = bad.iter().map(|(_, token)| (Some(&**token), 401));
    let refused = strangers.chain([(None, 401), (Some(good_token()), 403)]);
    for (name, serve) in guarded(&app, socket) {
        let served = Served::new(serve).await;
        for (token, status) in refused.clone() {
            app.scripted
                .follow(MockAuthority::new().hold(ACTION, "not yet"));
            let mut raw = Raw::connect(served.address).await;
            raw.write(opening(token)).await;
            let (head, body) = raw.response().await.unwrap();
            assert_eq!(head.status, status, "{name}: {head:?}");
            assert_eq!(head.header("upgrade"), None, "{name}");
            assert!(body.contains("\"detail\""), "{name}: {body}");
            // The connection still speaks HTTP, and a message is not a valid request.
            raw.write(frame("one")).await;
            let answer = raw.response().await;
            assert!(answer.is_none_or(|(head, _)| head.status == 400), "{name}");
            assert_eq!(app.ran.count(), 0, "{name}");
        }
    }
}

/// Opens a socket over HTTP/2 (RFC 8441), and returns the response and the stream for messages.
async fn open_over_http2(
    address: SocketAddr,
    token: Option<&str>,
) -> (http::Response<h2::RecvStream>, h2::SendStream<Bytes>) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    // The settings of the server announce that it supports this.
    let settled = async {
        while !client.is_extended_connect_protocol_enabled() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon(settled).await;
    let request = Request::connect(format!("http://{address}{PATH}"))
        .version(Version::HTTP_2)
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let (response, stream) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    (soon(response).await.unwrap(), stream)
}

/// The method is `CONNECT`, so a layer is tested: a `ProtectedRouter` that does not declare it
/// refuses it.
#[tokio::test]
async fn over_http_2_a_socket_needs_its_permit_as_well() {
    let app = App::new();
    let protect = ProtectLayer::new(Arc::clone(&app.scripted), RequestTarget::action(ACTION));
    let router = Router::new()
        .route(PATH, any(socket))
        .layer((ati(), protect));
    let served = Served::new(router.with_state(app.clone()).into_make_service()).await;
    for (token, status) in [(None, 401), (Some(good_token()), 403)] {
        let (response, _stream) = open_over_http2(served.address, token).await;
        assert_eq!((response.status().as_u16(), app.ran.count()), (status, 0));
    }

    app.scripted.follow(MockAuthority::new().allow(ACTION));
    let (response, mut stream) = open_over_http2(served.address, Some(good_token())).await;
    assert_eq!((response.status().as_u16(), app.ran.count()), (200, 1));
    stream.send_data(Bytes::from(frame("one")), false).unwrap();
    let mut messages = response.into_body();
    let mut back = Vec::new();
    while back.len() < 10 {
        back.extend(soon(messages.data()).await.unwrap().unwrap());
    }
    assert_eq!(back, [&[0x81, 8], &b"one back"[..]].concat());
}

#[tokio::test]
async fn a_protected_router_opens_no_socket_by_a_method_that_it_does_not_declare() {
    let app = allowing();
    for (name, serve) in guarded(&app, socket).into_iter().skip(1) {
        let served = Served::new(serve).await;
        let (response, _stream) = open_over_http2(served.address, Some(good_token())).await;
        let found = (response.status().as_u16(), app.ran.count());
        assert_eq!(found, (405, 0), "{name}");
    }
}
