//! The listening socket, with or without TLS: connection limits, and shutdown in order.

pub(crate) mod connections;
mod error;
mod foreign;
mod stall;
pub(crate) mod tls;
mod unread;

use std::future::{Future, Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsAcceptor;
use futures_util::future::join_all;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;

use super::{ApiKeysError, Server};
use crate::server::audit_log::Writing;
use crate::server::routes::router;
use crate::server::shadow;
use crate::server::tasks::{self, chain_head, retention};
use crate::store::{RateCounter, Store};
use connections::{Connections, Tracked, TrackedService};
pub use error::ServeError;
pub use foreign::{ConnectionSettings, serve_router};
use stall::{StallLimit, StallLimited};
use tls::Certificate;
pub use tls::TlsFiles;

/// A server that listens. It answers requests once [`run_until`](Self::run_until) runs.
#[must_use = "a server answers no request before `run_until`"]
pub struct Listening<S: Store> {
    server: Server<S>,
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Certificate>,
}

impl<S: Store + RateCounter> Server<S> {
    /// Listens on an address, with TLS if `tls` names its files. Port 0 takes any free port.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when the address is not available, or the certificate cannot be used.
    pub async fn listen(
        self,
        address: SocketAddr,
        tls: Option<TlsFiles>,
    ) -> Result<Listening<S>, ServeError> {
        let certificate = tls.map(Certificate::load).transpose()?;
        let bound = tokio::net::TcpListener::bind(address).await;
        let bound = bound.map_err(|source| ServeError::Bind { address, source })?;
        let address = bound.local_addr()?;
        tasks::keep_running_on_hangup();
        Ok(Listening {
            server: self,
            listener: bound.into_std()?,
            address,
            certificate,
        })
    }
}

impl<S: Store + RateCounter> Listening<S> {
    /// The address that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the API keys again, so that a key that was created since they were last read is
    /// accepted from the first request on.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when the keys cannot be read.
    pub async fn read_keys(&self) -> Result<(), ApiKeysError> {
        self.server.app.keys.refresh().await
    }

    /// Serves until `stop` resolves, then accepts no more connections and drains in-flight
    /// requests, for at most the [shutdown timeout](crate::server::Settings::shutdown_timeout).
    ///
    /// # Errors
    ///
    /// [`ServeError`] when the socket fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let socket = Socket {
            listener: self.listener,
            certificate: self.certificate,
        };
        self.server.run(Some(socket), stop).await
    }
}

/// Where the requests of a server come from.
struct Socket {
    listener: TcpListener,
    certificate: Option<Certificate>,
}

impl<S: Store + RateCounter> Server<S> {
    /// Runs what runs beside the requests until `stop` resolves, and listens nowhere: for a program
    /// that asks the [authority](Self::authority) in its own process. Changed policies are read
    /// again, approvals expire, and the head of the chain is saved.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when a log cannot be started.
    pub async fn run_without_listener(
        self,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        tasks::keep_running_on_hangup();
        self.run(None, stop).await
    }

    async fn run(
        self,
        socket: Option<Socket>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        #[cfg_attr(
            not(feature = "console"),
            allow(unused_mut, reason = "the console alone is told of TLS")
        )]
        let Server {
            mut app,
            policies,
            shadow,
            retention,
            head,
            audit_log,
            #[cfg(feature = "otlp")]
            otlp_log,
            #[cfg(feature = "webhooks")]
            webhooks,
        } = self;
        let certificate = socket
            .as_ref()
            .and_then(|socket| socket.certificate.clone());
        #[cfg(feature = "console")]
        if let Some(console) = &mut app.console {
            console.is_tls = certificate.is_some();
        }
        let app = Arc::new(app);
        app.organizations.accept_chains().await;
        shadow::start(&app)?;
        let mut logs = Vec::new();
        if let Some(log) = audit_log {
            logs.push(log.start(&app).await);
        }
        #[cfg(feature = "otlp")]
        logs.extend(otlp_log.map(|log| log.start(&app)));
        #[cfg(feature = "webhooks")]
        logs.extend(webhooks.start(&app).await);
        let handle = Handle::new();
        let listens = socket.is_some();
        let serving = async {
            match socket {
                Some(Socket {
                    listener,
                    certificate,
                }) => {
                    let routes = router(Arc::clone(&app));
                    let certificate = certificate.as_ref();
                    let settings = ConnectionSettings::from(&app.settings);
                    serve(listener, routes, &settings, certificate, handle.clone()).await
                }
                None => std::future::pending().await,
            }
        };
        // The tasks run until the last request has its answer, so that a key that is revoked
        // during the shutdown is refused.
        let mut tasks = tasks::start(&app, policies, shadow, certificate);
        tasks.spawn(retention::run(retention, Arc::clone(&app)));
        let saving_heads = chain_head::run(head.as_ref(), &app);
        tokio::pin!(serving);
        let ended = tokio::select! {
            served = &mut serving => Some(served),
            () = saving_heads => None,
            () = stop => None,
        };
        let served = match ended {
            Some(served) => served,
            None if !listens => Ok(()),
            None => {
                handle.graceful_shutdown(Some(app.settings.shutdown_timeout));
                serving.await
            }
        };
        chain_head::save(head.as_ref(), &app).await;
        join_all(logs.into_iter().map(Writing::finish)).await;
        Ok(served?)
    }
}

impl<S: Store> std::fmt::Debug for Listening<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("server", &self.server)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The limits of connections, with and without TLS: how many may be open, and how long a client may
/// take nothing of a response.
#[derive(Clone, Debug)]
struct ConnectionLimits {
    connections: Connections,
    stalls: StallLimit,
}

impl<S> Accept<TcpStream, S> for ConnectionLimits {
    type Stream = StallLimited<Tracked>;
    type Service = TrackedService<S>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.connections.accept(stream, service).into_inner();
        ready(
            accepted.and_then(|(stream, service)| self.stalls.accept(stream, service).into_inner()),
        )
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &ConnectionSettings,
    certificate: Option<&Certificate>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = router
        .layer(from_fn(unread::read_rest))
        .into_make_service_with_connect_info::<SocketAddr>();
    /// Applies the limits to a server of either type, and serves.
    macro_rules! limited {
        ($server:expr) => {{
            // `header_read_timeout` does not bound the bytes by which the version of HTTP is
            // detected.
            let first = settings.header_timeout;
            let mut server = $server.handle(handle).first_request_timeout(first);
            let builder = server.http_builder();
            (builder.http1())
                .timer(TokioTimer::new())
                .header_read_timeout(settings.header_timeout)
                .max_headers(100);
            (builder.http2())
                .timer(TokioTimer::new())
                .keep_alive_interval(settings.header_timeout)
                .max_concurrent_streams(256)
                .max_header_list_size(64 * 1024);
            server.serve(service).await
        }};
    }
    let limits = ConnectionLimits {
        connections: Connections::new(settings.connections),
        stalls: StallLimit(settings.stall_timeout),
    };
    match certificate {
        Some(certificate) => {
            // The limits wrap the bare connection, so that an unfinished handshake counts as idle.
            let acceptor = RustlsAcceptor::new(certificate.config()).acceptor(limits);
            limited!(axum_server::from_tcp(listener)?.acceptor(acceptor))
        }
        None => limited!(axum_server::from_tcp(listener)?.acceptor(limits)),
    }
}
