//! A server on real sockets that answers by script, faults included, and records its requests.
//!
//! The server runs on its own thread and runtime, so that the code under test may block or end its
//! runtime.
//!
//! ```
//! use atlasent_tests::server::{At, Fault, Reply, Request, Server};
//!
//! let server = Server::start(|request: &Request| match (request.path(), request.attempt) {
//!     ("/v1-evaluate", 1) => Reply::status(500),
//!     ("/v1-evaluate", _) => Reply::json(200, r#"{"decision":"allow","permit_token":"p"}"#),
//!     _ => Reply::json(200, r#"{"valid":true}"#).fault(Fault::Reset, At::InBody),
//! });
//! println!("{} hears nothing yet: {:?}", server.url(), server.requests());
//! ```
#![allow(
    clippy::expect_used,
    reason = "a server that cannot start fails its test"
)]

mod http1;
mod http2;
mod reply;
mod request;
mod script;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

pub use reply::{At, Fault, Reply};
pub use request::Request;
pub use script::{Script, in_order, unscripted};

use tls::Tls;

/// The most requests that are recorded: the latest ones.
const REMEMBERED: usize = 10_000;

/// The longest wait for a condition. Only failing tests wait this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs until it is dropped.
pub struct Server {
    url: String,
    certificate: Vec<u8>,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that speaks HTTP/1.1.
    #[must_use]
    pub fn start(script: impl Script) -> Self {
        Self::run(Speaks::Http1, script)
    }

    /// Starts a server that speaks HTTP/2 to clients with prior knowledge.
    #[must_use]
    pub fn start_http2(script: impl Script) -> Self {
        Self::run(Speaks::Http2, script)
    }

    /// Starts a server behind TLS that offers these protocols (ALPN), such as `h2` and `http/1.1`.
    #[must_use]
    pub fn start_tls(protocols: &[&str], script: impl Script) -> Self {
        Self::run(Speaks::Tls(Tls::offering(protocols)), script)
    }

    fn run(speaks: Speaks, script: impl Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        listener.set_nonblocking(true).expect("a socket");
        let (url, certificate) = match &speaks {
            Speaks::Tls(tls) => (format!("https://127.0.0.1:{port}"), tls.certificate.clone()),
            _ => (format!("http://127.0.0.1:{port}"), Vec::new()),
        };
        let state = Arc::new(State {
            script: Box::new(script),
            heard: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: Count::default(),
            busy: Count::default(),
        });
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn({
            let state = Arc::clone(&state);
            move || {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener);
                    let listener = listener.expect("a nonblocking socket");
                    tokio::select! {
                        () = accept(listener, Arc::new(speaks), state) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self {
            url,
            certificate,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Returns the base URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the certificate in DER, which is empty without TLS.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Returns the latest 10,000 requests, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state.heard().requests.iter().cloned().collect()
    }

    /// Returns the number of accepted connections.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that the client has not yet closed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.open.get()
    }

    /// Returns the number of requests that are being answered or stalled.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.state.busy.get()
    }

    /// Blocks this thread until the condition holds or the wait ends. Returns whether the condition
    /// holds.
    #[must_use]
    pub fn comes_to(&self, condition: impl Fn(&Self) -> bool) -> bool {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > PATIENCE {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in a script is already printed, and the test fails for want of the answer.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("accepted", &self.accepted())
            .field("open", &self.open())
            .field("busy", &self.busy())
            .finish_non_exhaustive()
    }
}

enum Speaks {
    Http1,
    Http2,
    Tls(Tls),
}

/// The state that all connections share.
struct State {
    script: Box<dyn Script>,
    heard: Mutex<Heard>,
    accepted: AtomicUsize,
    open: Count,
    busy: Count,
}

#[derive(Default)]
struct Heard {
    requests: VecDeque<Request>,
    attempts: HashMap<String, usize>,
}

impl State {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and asks the script for the answer. The server counts as busy until the
    /// second value is dropped.
    fn answer(&self, mut request: Request) -> (Reply, Counted) {
        let busy = self.busy.one_more();
        let mut heard = self.heard();
        let attempts = heard.attempts.entry(request.target.clone()).or_default();
        *attempts += 1;
        request.attempt = *attempts;
        if heard.requests.len() == REMEMBERED {
            heard.requests.pop_front();
        }
        heard.requests.push_back(request.clone());
        drop(heard);
        (self.script.reply(&request), busy)
    }
}

/// A shared count.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

/// A unit of a [`Count`], until it is dropped.
struct Counted(Count);

impl Count {
    fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn accept(listener: tokio::net::TcpListener, speaks: Arc<Speaks>, state: Arc<State>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // The system is out of sockets: closing ones make room.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let number = state.accepted.fetch_add(1, Ordering::SeqCst);
        let open = state.open.one_more();
        let (speaks, state) = (Arc::clone(&speaks), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that goes away in the middle is part of the script.
            let _ = serve(socket, &speaks, state, number).await;
            drop(open);
        });
    }
}

async fn serve(
    socket: TcpStream,
    speaks: &Speaks,
    state: Arc<State>,
    number: usize,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    match speaks {
        Speaks::Http1 => http1::serve(socket, state, number).await,
        Speaks::Http2 => http2::serve(socket, state, number).await,
        Speaks::Tls(tls) => {
            let socket = tls.acceptor.accept(socket).await?;
            match socket.get_ref().1.alpn_protocol() {
                Some(b"h2") => http2::serve(socket, state, number).await,
                _ => http1::serve(socket, state, number).await,
            }
        }
    }
}

/// A connection, with TLS or without.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the connection end with RST instead of FIN.
    fn reset_on_drop(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn reset_on_drop(&self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

impl Socket for TlsStream<TcpStream> {
    fn reset_on_drop(&self) -> io::Result<()> {
        self.get_ref().0.set_zero_linger()
    }
}
