//! Apps on sockets of this machine.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::IntoMakeService;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// What is served: an open router, or a protected one, by `into_make_service`.
pub(crate) type Serve = IntoMakeService<Router>;

/// An app that takes connections until this is dropped, and speaks HTTP/1.1 and HTTP/2.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    accepting: AbortHandle,
}

impl Served {
    pub(crate) async fn new(app: Serve) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        // What is sent in two pieces is not to wait for an acknowledgment.
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
