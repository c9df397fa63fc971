//! A connection on which requests and responses are seen frame by frame.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agents::good_token;

/// The body of a request.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

pub(crate) fn empty() -> Body {
    Empty::new().boxed()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A pending response.
pub(crate) type Responding =
    Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A connection, which dropping closes.
pub(crate) struct Wire {
    address: SocketAddr,
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr, version: Version) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let socket = TokioIo::new(socket);
        let sender = if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), socket)
                .await
                .unwrap();
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Self { address, sender }
    }

    /// Creates a request with a valid token, as this version writes it.
    pub(crate) fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .header(header::AUTHORIZATION, format!("Bearer {}", good_token()));
        let request = match self.sender {
            Sender::Http1(_) => request
                .uri(path)
                .header(header::HOST, self.address.to_string()),
            Sender::Http2(_) => request.uri(format!("http://{}{path}", self.address)),
        };
        request.body(body).unwrap()
    }

    /// Sends a request. The response is ready once its headers have arrived.
    pub(crate) fn send(&mut self, request: Request<Body>) -> Responding {
        match &mut self.sender {
            Sender::Http1(sender) => Box::pin(sender.send_request(request)),
            Sender::Http2(sender) => Box::pin(sender.send_request(request)),
        }
    }
}

/// Returns the next frame of a body. Fails if it does not arrive soon.
pub(crate) async fn next(body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
    soon(body.frame()).await
}

/// Returns the output of a future that must be ready soon, without any further event.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let came = timeout(Duration::from_secs(20), future).await;
    came.unwrap_or_else(|_| panic!("it never came"))
}
