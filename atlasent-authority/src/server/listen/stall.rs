//! A time limit on clients that take nothing of a response.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Accepts connections that fail once their client has taken nothing for this time.
#[derive(Clone, Debug)]
pub(crate) struct StallLimit(pub(crate) Duration);

impl<I: AsyncRead + AsyncWrite + Unpin, S> Accept<I, S> for StallLimit {
    type Stream = StallLimited<I>;
    type Service = S;
    type Future = Ready<io::Result<(StallLimited<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let stream = StallLimited {
            stream,
            limit: self.0,
            deadline: Box::pin(sleep(self.0)),
            is_stalled: false,
        };
        ready(Ok((stream, service)))
    }
}

/// A connection that fails when its client takes nothing of the waiting bytes for too long.
#[derive(Debug)]
pub(crate) struct StallLimited<I> {
    stream: I,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    is_stalled: bool,
}

impl<I: Unpin> StallLimited<I> {
    /// Sends bytes. The deadline counts from the first attempt at which the client takes nothing.
    fn send<T>(
        &mut self,
        context: &mut Context<'_>,
        send: impl FnOnce(Pin<&mut I>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let sent = send(Pin::new(&mut self.stream), context);
        if sent.is_ready() {
            self.is_stalled = false;
            return sent;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.deadline.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for StallLimited<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for StallLimited<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let send =
            |stream: Pin<&mut I>, context: &mut Context<'_>| stream.poll_write(context, bytes);
        self.get_mut().send(context, send)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let send = |stream: Pin<&mut I>, context: &mut Context<'_>| {
            stream.poll_write_vectored(context, pieces)
        };
        self.get_mut().send(context, send)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().send(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().send(context, AsyncWrite::poll_shutdown)
    }
}
