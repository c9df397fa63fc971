//! Connections: how many are open at a time, and which one is closed to make room.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, Ready, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use axum_server::accept::Accept;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tower_service::Service;

/// The open connections, at most a fixed number of them.
///
/// Anybody can open connections without a key and send nothing, or a head that never ends. So when
/// there is no room for a new connection, the one that has been idle for the longest time is
/// closed. A connection with a request under way is not idle, up to the last byte of its answer.
/// A client that sends its request at once is answered, however many others are silent.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    limit: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<u64, Entry>,
    /// The ids of idle connections, by the number of the moment since which they are idle.
    idle: BTreeMap<u64, u64>,
    /// The number of the next connection, and of the next moment.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    requests: usize,
    idle_since: Option<u64>,
    /// Closes the connection when it is dropped.
    _close: oneshot::Sender<()>,
}

impl Connections {
    /// At most `limit` connections at a time, or three quarters of the files that the process may
    /// have open, if that is less: the rest is for the store.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: possible(limit),
            open: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> io::Result<(Connection, oneshot::Receiver<()>)> {
        let mut open = self.lock();
        while open.by_id.len() >= self.limit {
            let (_, oldest) = open
                .idle
                .pop_first()
                .ok_or_else(|| io::Error::other("there are too many connections"))?;
            open.by_id.remove(&oldest);
        }
        let id = open.moment();
        let idle_since = open.moment();
        let (close, closed) = oneshot::channel();
        let entry = Entry {
            requests: 0,
            idle_since: Some(idle_since),
            _close: close,
        };
        open.by_id.insert(id, entry);
        open.idle.insert(idle_since, id);
        let connections = self.clone();
        Ok((Connection { connections, id }, closed))
    }
}

impl Open {
    fn moment(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn begin(&mut self, id: u64) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.requests += 1;
            if let Some(moment) = entry.idle_since.take() {
                self.idle.remove(&moment);
            }
        }
    }

    fn end(&mut self, id: u64) {
        let moment = self.moment();
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.requests = entry.requests.saturating_sub(1);
            if entry.requests == 0 {
                entry.idle_since = Some(moment);
                self.idle.insert(moment, id);
            }
        }
    }
}

/// An open connection. It is forgotten when it is dropped.
#[derive(Debug)]
struct Connection {
    connections: Connections,
    id: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let entry = open.by_id.remove(&self.id);
        if let Some(moment) = entry.and_then(|entry| entry.idle_since) {
            open.idle.remove(&moment);
        }
    }
}

/// A request under way.
struct UnderWay(Arc<Connection>);

impl UnderWay {
    fn new(connection: Arc<Connection>) -> Self {
        connection.connections.lock().begin(connection.id);
        Self(connection)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.connections.lock().end(self.0.id);
    }
}

impl<S> Accept<TcpStream, S> for Connections {
    type Stream = Tracked;
    type Service = TrackedService<S>;
    type Future = Ready<io::Result<(Tracked, TrackedService<S>)>>;

    fn accept(&self, stream: TcpStream, inner: S) -> Self::Future {
        ready(self.add().map(|(connection, closed)| {
            let connection = Arc::new(connection);
            let service = TrackedService {
                inner,
                connection: Arc::clone(&connection),
            };
            let stream = Tracked {
                stream,
                closed: Some(closed),
                _connection: connection,
            };
            (stream, service)
        }))
    }
}

/// A stream that ends when its connection is closed to make room.
pub(crate) struct Tracked {
    stream: TcpStream,
    /// Taken when it has been closed.
    closed: Option<oneshot::Receiver<()>>,
    _connection: Arc<Connection>,
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_closed = match &mut self.closed {
            Some(closed) => Pin::new(closed).poll(context).is_ready(),
            None => true,
        };
        if is_closed {
            self.closed = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A service that knows which requests of its connection are under way.
#[derive(Clone)]
pub(crate) struct TrackedService<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<S, R> Service<R> for TrackedService<S>
where
    S: Service<R, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let under_way = UnderWay::new(Arc::clone(&self.connection));
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| {
                Body::new(TrackedBody {
                    body,
                    _under_way: under_way,
                })
            }))
        })
    }
}

/// The body of an answer, whose request is under way until it is dropped.
struct TrackedBody {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How many of so many connections this process can have open.
pub(crate) fn possible(limit: usize) -> usize {
    let limit = open_files().map_or(limit, |files| limit.min(files / 4 * 3));
    limit.max(1)
}

/// How many files this process may have open, where the system tells.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closed(closed: &mut oneshot::Receiver<()>) -> bool {
        !matches!(closed.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn the_connection_that_is_idle_the_longest_makes_room() {
        let connections = Connections::new(3);
        let mut open: Vec<_> = (0..3).map(|_| connections.add().unwrap()).collect();
        let ids: Vec<u64> = open.iter().map(|(connection, _)| connection.id).collect();
        // The first has a request under way; the second had one, after the third was idle.
        connections.lock().begin(ids[0]);
        connections.lock().begin(ids[1]);
        connections.lock().end(ids[1]);
        let fourth = connections.add().unwrap();
        let closed: Vec<bool> = open
            .iter_mut()
            .map(|(_, closed)| is_closed(closed))
            .collect();
        assert_eq!(closed, [false, false, true]);
        let fifth = connections.add().unwrap();
        assert!(is_closed(&mut open[1].1) && !is_closed(&mut open[0].1));
        // Where all are busy, there is no room.
        for (connection, _) in [&fourth, &fifth] {
            connections.lock().begin(connection.id);
        }
        assert!(connections.add().is_err());
        drop(open);
        assert!(connections.add().is_ok());
    }

    #[test]
    fn what_is_dropped_is_forgotten() {
        let connections = Connections::new(1_000);
        for _ in 0..10 {
            let (connection, _closed) = connections.add().unwrap();
            let connection = Arc::new(connection);
            let under_way = UnderWay::new(Arc::clone(&connection));
            drop(connection);
            drop(under_way);
        }
        let open = connections.lock();
        assert!(open.by_id.is_empty() && open.idle.is_empty());
    }
}
