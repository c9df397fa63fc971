//! Serves a router that is not the server's own, with the server's limits on connections.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;

use super::serve;
use crate::server::settings::Settings;

/// The limits on the connections of a listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionSettings {
    /// How many connections may be open at a time; 8,192 by default, and at most three quarters of
    /// the files that the process may have open. A new connection beyond that closes the one that
    /// has been idle for the longest time.
    pub connections: usize,
    /// How long a client may take to send the headers of a request. 10 seconds by default.
    pub header_timeout: Duration,
    /// How long a client may read nothing of a response. 10 seconds by default.
    pub stall_timeout: Duration,
    /// How long requests may continue after the listener was told to stop. 10 seconds by default.
    pub shutdown_timeout: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self::from(&Settings::default())
    }
}

impl From<&Settings> for ConnectionSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            connections: settings.connections,
            header_timeout: settings.header_timeout,
            stall_timeout: settings.request_timeout.min(settings.export_timeout),
            shutdown_timeout: settings.shutdown_timeout,
        }
    }
}

/// Serves a router until `stop` resolves, then accepts no more connections and drains in-flight
/// requests.
///
/// It is for an endpoint beside that of a [`Server`](crate::server::Server), with clients that are
/// no more trusted. The number of connections is limited. A client that sends the headers of a
/// request too slowly, or does not read its responses, is disconnected.
///
/// # Errors
///
/// The error of the socket.
pub async fn serve_router(
    listener: tokio::net::TcpListener,
    router: Router,
    settings: &ConnectionSettings,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let handle = Handle::new();
    let serving = serve(listener.into_std()?, router, settings, None, handle.clone());
    tokio::pin!(serving);
    let ended = tokio::select! {
        served = &mut serving => Some(served),
        () = stop => None,
    };
    match ended {
        Some(served) => served,
        None => {
            handle.graceful_shutdown(Some(settings.shutdown_timeout));
            serving.await
        }
    }
}
