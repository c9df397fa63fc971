//! Requests made by hand, and their responses frame by frame.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::handshake;
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;

use crate::methods::Method;
use crate::stage::{PATIENT, soon};

/// A response as received.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether the frame of the headers ended the stream.
    pub(crate) ended_with_headers: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Raw {
    /// Returns the gRPC status from the headers or the trailers.
    pub(crate) fn code(&self) -> i32 {
        let place = self.trailers.as_ref().unwrap_or(&self.headers);
        place["grpc-status"].to_str().unwrap().parse().unwrap()
    }

    /// Returns the whole response as text, to search for secrets.
    pub(crate) fn text(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!("{:?} {:?} {body}", self.headers, self.trailers)
    }
}

/// Returns a call of this method without a token.
pub(crate) fn anonymous_call(path: &str) -> Request<()> {
    let request = Request::post(format!("http://clinic{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("patient-id", PATIENT);
    request.body(()).unwrap()
}

/// Returns a call of this method with a token.
pub(crate) fn call_with_token(path: &str, token: &str) -> Request<()> {
    let mut request = anonymous_call(path);
    let bearer = format!("Bearer {token}").try_into().unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
}

pub(crate) async fn call(address: SocketAddr, method: Method, token: &str) -> Raw {
    send(
        address,
        call_with_token(&method.path(), token),
        method.body(),
    )
    .await
}

/// Sends a request, and reads the response to its end.
pub(crate) async fn send(address: SocketAddr, request: Request<()>, body: Vec<u8>) -> Raw {
    soon(async move {
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let (answer, mut stream) = client.send_request(request, false).unwrap();
        // A server that has refused may stop reading the body.
        let _ = stream.send_data(Bytes::from(body), true);
        let (head, mut rest) = answer.await.unwrap().into_parts();
        let mut raw = Raw {
            status: head.status,
            headers: head.headers,
            ended_with_headers: rest.is_end_stream(),
            body: Vec::new(),
            trailers: None,
        };
        while let Some(data) = rest.data().await {
            raw.body.extend(data.unwrap());
        }
        raw.trailers = rest.trailers().await.unwrap();
        connection.abort();
        raw
    })
    .await
}
