//! Describes scripted answers and their faults.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// A scripted answer: its parts, its framing and pace, and its [`Fault`].
///
/// ```
/// use atlasent_tests::server::{At, Fault, Reply};
///
/// let whole = Reply::json(200, r#"{"decision":"allow","permit_token":"p"}"#);
/// let cut = whole.clone().fault(Fault::Reset, At::InBody);
/// let odd = whole.header("content-type", "text/html").pieces(1);
/// # drop((cut, odd));
/// ```
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) raw: Option<Arc<[u8]>>,
    pub(super) informational: Vec<u16>,
    pub(super) http10: bool,
    pub(super) status: u16,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Arc<[u8]>,
    pub(super) framing: Framing,
    pub(super) followed_by: Vec<u8>,
    pub(super) pieces: Option<(usize, Duration)>,
    pub(super) fault: Option<(Fault, At)>,
}

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By the length of the body.
    Length,
    /// By a wrong length.
    Claimed(usize),
    /// In chunks of this size; as a body without a length in HTTP/2.
    Chunked(usize),
    /// By the end of the connection; as a body without a length in HTTP/2.
    Closed,
}

/// A fault of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer stalls until the client closes the connection.
    Stall,
    /// HTTP/1.1: the connection is reset (RST). HTTP/2: the stream is reset with `INTERNAL_ERROR`.
    Reset,
    /// The connection ends (FIN), in HTTP/2 without `GOAWAY`.
    Close,
    /// HTTP/2: the stream is reset with `REFUSED_STREAM`. HTTP/1.1 has no equivalent, and the
    /// connection ends.
    Refuse,
    /// HTTP/2: the connection ends with `GOAWAY` and an error. HTTP/1.1: the connection ends.
    GoAway,
}

/// The place of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before the first byte of the answer.
    Start,
    /// Halfway through the head; in HTTP/2, before the head.
    InHead,
    /// Between head and body.
    Body,
    /// Halfway through the body.
    InBody,
    /// After the last byte.
    End,
}

impl Reply {
    /// Creates an answer with this status and a JSON body.
    #[must_use]
    pub fn json(status: u16, body: impl Display) -> Self {
        Self::bytes(status, "application/json", body.to_string())
    }

    /// Creates an answer with this status, and a body of this content type. An empty content type
    /// is not sent.
    #[must_use]
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let reply = Self {
            raw: None,
            informational: Vec::new(),
            http10: false,
            status,
            headers: Vec::new(),
            body: body.into().into(),
            framing: Framing::Length,
            followed_by: Vec::new(),
            pieces: None,
            fault: None,
        };
        match content_type {
            "" => reply,
            _ => reply.header("content-type", content_type),
        }
    }

    /// Creates an answer with this status and no body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::bytes(status, "", "")
    }

    /// Sends these bytes instead of an answer and ends the connection. HTTP/1.1 only: over HTTP/2
    /// the stream is reset instead.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into().into()),
            ..Self::status(0)
        }
    }

    /// Adds a header, also if the answer has one of this name. The value may be any bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.headers.push((name.as_bytes().to_vec(), value));
        self
    }

    /// Sends an informational answer (1xx) first.
    #[must_use]
    pub fn informational(mut self, status: u16) -> Self {
        self.informational.push(status);
        self
    }

    /// Answers as HTTP/1.0, and ends the connection.
    #[must_use]
    pub fn http10(mut self) -> Self {
        self.http10 = true;
        self
    }

    /// Sends this `Content-Length`, even if it is wrong.
    #[must_use]
    pub fn claims(mut self, length: usize) -> Self {
        self.framing = Framing::Claimed(length);
        self
    }

    /// Sends the body in chunks of this many bytes.
    #[must_use]
    pub fn chunked(mut self, size: usize) -> Self {
        self.framing = Framing::Chunked(size.max(1));
        self
    }

    /// Sends no length: the end of the connection ends the body.
    #[must_use]
    pub fn until_closed(mut self) -> Self {
        self.framing = Framing::Closed;
        self
    }

    /// Sends unexpected bytes after the answer. HTTP/1.1 only.
    #[must_use]
    pub fn followed_by(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.followed_by = bytes.into();
        self
    }

    /// Sends pieces of this many bytes, each in its own packet.
    #[must_use]
    pub fn pieces(self, size: usize) -> Self {
        self.slowly(size, Duration::ZERO)
    }

    /// Sends pieces of this many bytes, and waits after each.
    #[must_use]
    pub fn slowly(mut self, size: usize, wait: Duration) -> Self {
        self.pieces = Some((size.max(1), wait));
        self
    }

    /// Adds a fault at this place.
    #[must_use]
    pub fn fault(mut self, fault: Fault, at: At) -> Self {
        self.fault = Some((fault, at));
        self
    }
}
