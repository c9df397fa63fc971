//! Serves apps on local sockets.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::IntoMakeService;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A service to serve: an open router or a protected one, by `into_make_service`.
pub(crate) type Serve = IntoMakeService<Router>;

/// An app that is served over HTTP/1.1 and HTTP/2 until this is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    accepting: AbortHandle,
}

impl Served {
    pub(crate) async fn new(app: Serve) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        // Two small writes must not wait for an acknowledgment.
        let listener = listener.tap_io(|socket| socket.set_nodelay(true).unwrap());
        let accepting = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            accepting: accepting.abort_handle(),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
