//! The socket: with or without TLS, with limits, and closed in good order.

use std::future::{Future, Ready, ready};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::future::join_all;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;

use super::app::Settings;
use super::audit_log::Writing;
use super::connections::{Connections, Tracked, TrackedService};
use super::refresh;
use super::remember;
use super::stall::{StallLimit, Stalling};
use super::{Server, router};
use crate::store::{RateCounter, Store};

/// Where the certificate of the server and its key are, both in PEM. They are read again when they
/// change.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those that it depends on.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate or its key will not do.
    #[error("`{path}` will not do for TLS: {why}")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong. Nothing of what is in it.
        why: String,
    },
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

/// A server that listens already, and answers from [`run_until`](Self::run_until) on.
#[must_use = "nothing is answered before `run_until`"]
pub struct Listening<S: Store> {
    server: Server<S>,
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Certificate>,
}

impl<S: Store + RateCounter> Server<S> {
    /// Takes an address, with TLS if there are files for it. Port 0 takes any free port.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when the address cannot be had, or the certificate will not do.
    pub async fn listen(
        self,
        address: SocketAddr,
        tls: Option<TlsFiles>,
    ) -> Result<Listening<S>, ServeError> {
        let certificate = tls.map(Certificate::load).transpose()?;
        let bound = tokio::net::TcpListener::bind(address).await;
        let bound = bound.map_err(|source| ServeError::Bind { address, source })?;
        let address = bound.local_addr()?;
        Ok(Listening {
            server: self,
            listener: bound.into_std()?,
            address,
            certificate,
        })
    }
}

impl<S: Store + RateCounter> Listening<S> {
    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the API keys once more, so that one made since then is accepted from the first request
    /// on.
    ///
    /// # Errors
    ///
    /// [`KeyBookError`](super::KeyBookError) when the keys cannot be read.
    pub async fn read_keys(&self) -> Result<(), super::KeyBookError> {
        self.server.app.keys.refresh().await
    }

    /// Answers until `stop` is there; then takes no more connections, and lets the requests that it
    /// has end.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when the socket fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Server {
            app,
            policies,
            retention,
            head,
            audit_log,
            #[cfg(feature = "otlp")]
            otlp_log,
        } = self.server;
        let app = Arc::new(app);
        let mut logs = Vec::new();
        if let Some(log) = audit_log {
            logs.push(log.start(&app).await);
        }
        #[cfg(feature = "otlp")]
        logs.extend(otlp_log.map(|log| log.start(&app)));
        let handle = Handle::new();
        let serving = serve(
            self.listener,
            router(Arc::clone(&app)),
            &app.settings,
            self.certificate.as_ref(),
            handle.clone(),
        );
        // These go on until the last request has its answer: a key that is revoked meanwhile is
        // refused, too.
        let mut tasks = refresh::start(&app, policies, self.certificate.clone());
        if let Some(retention) = retention {
            tasks.spawn(retention.run(Arc::clone(&app)));
        }
        let remembering = async {
            match &head {
                Some(file) => remember::run(file, &app).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(serving);
        let ended = tokio::select! {
            served = &mut serving => Some(served),
            () = remembering => None,
            () = stop => None,
        };
        let served = match ended {
            Some(served) => served,
            None => {
                handle.graceful_shutdown(Some(app.settings.shutdown_timeout));
                serving.await
            }
        };
        if let Some(file) = &head {
            remember::save(file, &app).await;
        }
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

/// What holds for a connection, whatever runs over it: how many may be open, and how long a client
/// may take nothing of its answer.
#[derive(Clone, Debug)]
struct Limits {
    connections: Connections,
    stalls: StallLimit,
}

impl<S> Accept<TcpStream, S> for Limits {
    type Stream = Stalling<Tracked>;
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
    settings: &Settings,
    certificate: Option<&Certificate>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    /// The limits of a connection, whatever it runs over.
    macro_rules! limited {
        ($server:expr) => {{
            // What is sent before it is known which HTTP it is, `header_read_timeout` does not
            // bound.
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
    let limits = Limits {
        connections: Connections::new(settings.connections),
        stalls: StallLimit(settings.request_timeout.min(settings.export_timeout)),
    };
    match certificate {
        Some(certificate) => {
            // Below TLS, so that a handshake that does not end is idle, too.
            let acceptor = RustlsAcceptor::new(certificate.config.clone()).acceptor(limits);
            limited!(axum_server::from_tcp(listener)?.acceptor(acceptor))
        }
        None => limited!(axum_server::from_tcp(listener)?.acceptor(limits)),
    }
}

/// The certificate that is in use.
#[derive(Clone)]
pub(super) struct Certificate {
    files: TlsFiles,
    seen: [Option<SystemTime>; 2],
    config: RustlsConfig,
}

impl Certificate {
    fn load(files: TlsFiles) -> Result<Self, ServeError> {
        let seen = files.look();
        let config = RustlsConfig::from_config(Arc::new(files.config()?));
        Ok(Self {
            files,
            seen,
            config,
        })
    }

    /// Reads the files again, if they have changed. Those that will not do change nothing.
    pub(super) fn refresh(&mut self, asked: bool) {
        let now = self.files.look();
        if now == self.seen && !asked {
            return;
        }
        self.seen = now;
        match self.files.config() {
            Ok(config) => {
                self.config.reload_from_config(Arc::new(config));
                tracing::info!(target: "atlasent", "a new certificate is in use");
            }
            Err(error) => {
                tracing::error!(target: "atlasent", %error, "the former certificate stays in use");
            }
        }
    }
}

impl TlsFiles {
    fn look(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| fs::metadata(path).ok()?.modified().ok())
    }

    fn config(&self) -> Result<ServerConfig, ServeError> {
        let refuse = |path: &Path, why: String| ServeError::Tls {
            path: path.display().to_string(),
            why,
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| refuse(&self.certificate, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| refuse(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(&self.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| refuse(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
