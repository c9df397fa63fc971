//! The two sides of a session as channels, so that a session knows no transport.

use std::sync::Arc;

use atlasent::Permit;
use tokio::sync::{mpsc, oneshot};

use super::message::{Malformed, Message, RequestId};
use crate::Caller;
use crate::gate::AuthorizedOperation;

/// The most messages that wait in one channel.
pub(crate) const CHANNEL: usize = 64;

/// A message for the server.
#[derive(Debug)]
pub(crate) struct ToServer {
    pub(crate) message: Message,
    /// The permit of the message, which releases the credentials of the server for it. A message
    /// that needs no permit goes out under the permit to be connected.
    pub(crate) permit: Option<Box<Permit<AuthorizedOperation>>>,
}

/// What comes from the server.
#[derive(Debug)]
pub(crate) enum FromServer {
    /// A message. `during` is the request whose stream it came on, if the transport tells.
    Message {
        message: Message,
        during: Option<RequestId>,
    },
    /// A text that is no message.
    Malformed(Malformed),
    /// The server did not take a request, or ended its stream without a response.
    Failed { id: RequestId, reason: String },
    /// Nothing comes any more.
    Closed { reason: String },
}

/// A message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToClient {
    pub(crate) text: Arc<str>,
    /// The request of the client that the message belongs to, if any.
    pub(crate) about: Option<RequestId>,
    /// What the message is to that request.
    pub(crate) part: Part,
}

/// What a message for the client is to the request that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// One of the messages before the response, or of those that belong to no request.
    Message,
    /// The response.
    Response,
    /// Nothing to send: the request was cancelled, so it has no response.
    End,
}

/// What comes from the client.
#[derive(Debug)]
pub(crate) enum FromClient {
    /// A message of a caller.
    Message { message: Message, caller: Caller },
    /// A text that is no message.
    Malformed(Malformed),
}

/// The side of the server, as a session holds it.
#[derive(Debug)]
pub(crate) struct ServerLink {
    pub(crate) sender: mpsc::Sender<ToServer>,
    pub(crate) receiver: mpsc::Receiver<FromServer>,
}

/// The side of the client, as a session holds it.
#[derive(Debug)]
pub(crate) struct ClientLink {
    pub(crate) sender: mpsc::Sender<ToClient>,
    pub(crate) receiver: mpsc::Receiver<FromClient>,
    /// Resolves when the session has to end, because its sender is dropped. Unlike the end of the
    /// messages, it does not queue behind messages that the server does not read.
    pub(crate) end: oneshot::Receiver<()>,
}
