//! The limit on open connections, and the choice of the one that is closed to make room.

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

/// The open connections, with an upper limit.
///
/// A client needs no API key to open connections and send nothing, or headers without an end. So a
/// new connection beyond the limit closes the one that has been idle for the longest time. A
/// connection with an active request is not idle, up to the last byte of the response. A client
/// that sends its request at once is answered, however many connections are silent.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    limit: usize,
    open: Arc<Mutex<OpenConnections>>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    by_id: HashMap<u64, ConnectionState>,
    /// The ids of idle connections, by the sequence number at which they became idle.
    idle: BTreeMap<u64, u64>,
    /// The last sequence number. Connections and changes to idle are numbered in one sequence.
    last_number: u64,
}

#[derive(Debug)]
struct ConnectionState {
    requests: usize,
    idle_since: Option<u64>,
    /// Closes the connection when dropped.
    _close: oneshot::Sender<()>,
}

impl Connections {
    /// Allows `limit` connections at a time, or three quarters of the files that the process may
    /// have open, if that is less. The other files are for the store.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: max_connections(limit),
            open: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> io::Result<(Connection, oneshot::Receiver<()>)> {
        let mut open = self.lock();
        while open.by_id.len() >= self.limit {
            let (_, oldest) = open
                .idle
                .pop_first()
                .ok_or_else(|| io::Error::other("too many connections are busy"))?;
            open.by_id.remove(&oldest);
        }
        let id = open.next_number();
        let idle_since = open.next_number();
        let (close, closed) = oneshot::channel();
        let state = ConnectionState {
            requests: 0,
            idle_since: Some(idle_since),
            _close: close,
        };
        open.by_id.insert(id, state);
        open.idle.insert(idle_since, id);
        let connections = self.clone();
        Ok((Connection { connections, id }, closed))
    }
}

impl OpenConnections {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn begin_request(&mut self, id: u64) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.requests += 1;
            if let Some(number) = state.idle_since.take() {
                self.idle.remove(&number);
            }
        }
    }

    fn end_request(&mut self, id: u64) {
        let number = self.next_number();
        if let Some(state) = self.by_id.get_mut(&id) {
            state.requests = state.requests.saturating_sub(1);
            if state.requests == 0 {
                state.idle_since = Some(number);
                self.idle.insert(number, id);
            }
        }
    }
}

/// An open connection. Dropping it removes it from the open connections.
#[derive(Debug)]
struct Connection {
    connections: Connections,
    id: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let state = open.by_id.remove(&self.id);
        if let Some(number) = state.and_then(|state| state.idle_since) {
            open.idle.remove(&number);
        }
    }
}

/// An active request. Dropping it ends the request.
struct ActiveRequest(Arc<Connection>);

impl ActiveRequest {
    fn new(connection: Arc<Connection>) -> Self {
        connection.connections.lock().begin_request(connection.id);
        Self(connection)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.connections.lock().end_request(self.0.id);
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

/// A stream that fails when its connection is closed to make room.
pub(crate) struct Tracked {
    stream: TcpStream,
    /// `None` once the connection has been closed.
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

/// A service that counts the active requests of its connection.
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
        let active = ActiveRequest::new(Arc::clone(&self.connection));
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| {
                Body::new(TrackedBody {
                    body,
                    _active: active,
                })
            }))
        })
    }
}

/// The body of a response. Its request is active until the body is dropped.
struct TrackedBody {
    body: Body,
    _active: ActiveRequest,
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

/// Returns the largest number of connections that this process can have open, at most `limit`.
pub(crate) fn max_connections(limit: usize) -> usize {
    let limit = max_open_files().map_or(limit, |files| limit.min(files / 4 * 3));
    limit.max(1)
}

/// Returns how many files this process may have open, if the system tells.
fn max_open_files() -> Option<usize> {
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
        // The first has an active request. The second became idle after the third.
        connections.lock().begin_request(ids[0]);
        connections.lock().begin_request(ids[1]);
        connections.lock().end_request(ids[1]);
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
            connections.lock().begin_request(connection.id);
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
            let active = ActiveRequest::new(Arc::clone(&connection));
            drop(connection);
            drop(active);
        }
        let open = connections.lock();
        assert!(open.by_id.is_empty() && open.idle.is_empty());
    }
}
