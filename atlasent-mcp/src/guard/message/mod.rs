//! One message of the protocol: a strict envelope around text that stays as it was written.
//!
//! Between client and server, a message is decided on by one reader and executed by another. Every
//! text that two readers understand differently is therefore refused: repeated members, members of
//! another spelling or case, batches, ids that are no string and no integer, notifications with the
//! name of a call. What passes is forwarded byte for byte. Only a line end between two tokens
//! becomes a space, because a server that reads lines may take the rest of the line for another
//! message:
//!
//! ```text
//! {"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":\r{"jsonrpc":"2.0","id":2,"method":"tools/call",…}\r}}
//!                                                           ╰ a line of its own for a reader that splits at \r
//! ```

mod answer;
mod envelope;
mod id;
mod outline;
mod unique;

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

pub use answer::{error_response, result_response};
pub use envelope::is_request_method;
pub use id::RequestId;
pub(crate) use outline::Outline;
pub use unique::{MAX_DEPTH, check_unique};

use envelope::Envelope;

/// The most bytes of one message: 16 MiB. Images and files travel inside of messages.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The most characters of the name of a method.
const MAX_METHOD_CHARS: usize = 128;

/// The prefix of every notification's method.
const NOTIFICATIONS: &str = "notifications/";

/// A message whose envelope was checked, with its text.
///
/// ```
/// use atlasent_mcp::guard::message::{Kind, Message};
///
/// let message = Message::parse(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#)?;
/// assert!(matches!(message.kind(), Kind::Request { method, .. } if &**method == "tools/list"));
///
/// // Two readers would take it for two different calls.
/// let twice = r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}"#;
/// assert!(Message::parse(twice).is_err());
/// # Ok::<(), atlasent_mcp::guard::message::Malformed>(())
/// ```
#[derive(Clone)]
pub struct Message {
    text: Arc<str>,
    kind: Kind,
    /// The bytes of `params`, `result` or `error` in the text.
    body: Option<Range<usize>>,
    /// A value that is dropped with the last clone of the message.
    held: Option<Arc<dyn Any + Send + Sync>>,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request, which is answered by a response with the same id.
    Request {
        /// The id of the request.
        id: RequestId,
        /// The name of the method.
        method: Box<str>,
    },
    /// A notification, which is not answered.
    Notification {
        /// The name of the method, which begins with `notifications/`.
        method: Box<str>,
    },
    /// The result of a request.
    Result {
        /// The id of the request.
        id: RequestId,
    },
    /// The error of a request.
    Error {
        /// The id of the request. Unset if the request could not be read.
        id: Option<RequestId>,
    },
}

impl Message {
    /// Reads a message from bytes.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and for bytes that are not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::parse("not UTF-8"))?;
        Self::parse(text)
    }

    /// Reads a message from its text.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for a text that is longer than [`MAX_MESSAGE_BYTES`], is no JSON-RPC 2.0
    /// message, or could be understood as another one.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed::too_long());
        }
        let text = one_line(text.trim_matches([' ', '\t', '\r', '\n']));
        let envelope = Envelope::parse(&text)?;
        let kind = envelope.kind()?;
        let body = envelope.body();
        // A result may be large, and most are only forwarded. The code that reads one checks it.
        if !matches!(kind, Kind::Result { .. })
            && let Some(body) = body
        {
            check_unique(body).map_err(|error| error.about(kind.id()))?;
        }
        let body = body.and_then(|body| range_in(&text, body));
        Ok(Self {
            kind,
            body,
            text: text.into(),
            held: None,
        })
    }

    /// Keeps a value until the last clone of the message is dropped, such as the share of a limit
    /// that the message uses while it waits.
    pub(crate) fn holding(mut self, value: impl Any + Send + Sync) -> Self {
        self.held = Some(Arc::new(value));
        self
    }

    /// Returns what the message is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the text, which holds no line end.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text, shared.
    #[must_use]
    pub fn to_shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Returns the request that a cancellation names.
    pub(crate) fn cancelled(&self) -> Option<RequestId> {
        #[derive(serde::Deserialize)]
        struct Cancelled<'a> {
            #[serde(borrow, rename = "requestId")]
            id: &'a RawValue,
        }
        let cancelled: Cancelled<'_> = serde_json::from_str(self.body()?).ok()?;
        RequestId::parse(cancelled.id.get())
    }

    /// Returns the text of `params`, `result` or `error`, as it was written.
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        self.text.get(self.body.clone()?)
    }
}

impl Kind {
    /// Returns the id, if the message has one.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        match self {
            Self::Request { id, .. } | Self::Result { id } => Some(id),
            Self::Error { id } => id.as_ref(),
            Self::Notification { .. } => None,
        }
    }
}

/// Prints what the message is, and the length of its text: the text may hold secrets.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("bytes", &self.text.len())
            .field("is_counted", &self.held.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a text is not a valid message. Of the text, the error repeats only an id and the names of
/// JSON-RPC members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    code: i64,
    reason: String,
    id: Option<RequestId>,
    /// The request that the text answers, if it is the outline of a response.
    answered: Option<RequestId>,
}

impl Malformed {
    /// The JSON-RPC code of a text that is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The JSON-RPC code of JSON that is no valid request.
    pub const INVALID_REQUEST: i64 = -32600;

    fn parse(reason: impl Into<String>) -> Self {
        Self {
            code: Self::PARSE_ERROR,
            reason: format!("the message is {}", reason.into()),
            id: None,
            answered: None,
        }
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self {
            code: Self::INVALID_REQUEST,
            reason: reason.into(),
            id: None,
            answered: None,
        }
    }

    /// The error for a message that was not read to its end.
    pub(crate) fn too_long() -> Self {
        Self::invalid(format!("a message has more than {MAX_MESSAGE_BYTES} bytes"))
    }

    /// The error for a request whose id another request has. It names no request: its receiver
    /// would take it for the response to the other one.
    pub(crate) fn id_in_use(id: &RequestId) -> Self {
        Self::invalid(format!("the id {id} is that of another request"))
    }

    /// Names the request that the error answers.
    fn about(mut self, id: Option<&RequestId>) -> Self {
        self.id = id.cloned();
        self
    }

    /// The error for a line that was not kept, with the request that it asks or answers.
    pub(crate) fn too_long_line(outline: &Outline) -> Self {
        Self::too_long().about(outline.request()).answering(outline)
    }

    /// Names the request that the text answers, if its outline is that of a response.
    pub(crate) fn answering(mut self, outline: &Outline) -> Self {
        self.answered = outline.answered().cloned();
        self
    }

    /// Returns the request that the text answers. Its sender would wait for ever, because no other
    /// response comes.
    pub(crate) fn answered(&self) -> Option<&RequestId> {
        self.answered.as_ref()
    }

    /// Returns the JSON-RPC error code.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.code
    }

    /// Returns the response that tells the sender.
    #[must_use]
    pub fn response(&self) -> String {
        error_response(self.id.as_ref(), self.code, &self.reason, None)
    }
}

/// Returns the text with each line end replaced by a space. Inside of strings, JSON has no raw line
/// end: the envelope is refused for one later.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// Returns the range of a part of a text.
fn range_in(text: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let range = start..start.checked_add(part.len())?;
    (text.get(range.clone()) == Some(part)).then_some(range)
}

#[cfg(test)]
mod tests;
