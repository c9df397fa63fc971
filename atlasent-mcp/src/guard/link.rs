//! The two sides of a session as channels, so that a session knows no transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlasent::Permit;
use tokio::sync::{mpsc, oneshot};

use super::message::{Malformed, Message, RequestId};
use crate::Caller;
use crate::gate::AuthorizedOperation;

/// The most messages that wait in one channel. Each may have 16 MiB, so that few do: what waits for
/// a side that does not read waits in the session, which counts its bytes.
pub(crate) const CHANNEL: usize = 4;

/// A message for the server.
#[derive(Debug)]
pub(crate) struct ToServer {
    pub(crate) message: Message,
    /// The permit of the message, which releases the credentials of the server for it. A message
    /// that needs no permit is sent under the permit to connect.
    pub(crate) permit: Option<Box<Permit<AuthorizedOperation>>>,
    pub(crate) handover: Handover,
}

impl ToServer {
    /// Creates a message that needs no permit of its own and is never withdrawn.
    pub(crate) fn without_permit(message: Message) -> Self {
        Self {
            message,
            permit: None,
            handover: Handover::default(),
        }
    }

    /// Begins to send the message. From then on, the session cannot withdraw it. A message may wait
    /// long for a server that does not read, so the connection calls this right before it sends.
    pub(crate) fn begin(&self) -> Result<(), NotSent> {
        if !self.handover.decide() {
            return Err(NotSent::Withdrawn);
        }
        match self
            .permit
            .as_ref()
            .is_some_and(|permit| !permit.is_active())
        {
            true => Err(NotSent::Expired),
            false => Ok(()),
        }
    }
}

/// Why a message is not sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The session withdrew it, because the client cancelled the request.
    Withdrawn,
    /// Its permit expired while it waited.
    Expired,
}

impl NotSent {
    /// Returns the report to the session, or `None` for a message that the session itself withdrew.
    pub(crate) fn report(self, message: &Message) -> Option<FromServer> {
        let id = message.kind().id().cloned();
        let reason = "the permit of the request expired before the server took it".to_owned();
        match self {
            Self::Withdrawn => None,
            Self::Expired => id.map(|id| FromServer::Failed { id, reason }),
        }
    }
}

/// Decides once whether a message is sent by the connection or withdrawn by the session: the first
/// of the two that calls [`decide`](Self::decide) wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover(Arc<AtomicBool>);

impl Handover {
    /// Decides. Returns `false` if the other side decided before.
    pub(crate) fn decide(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_or_withdrawn_and_never_both() {
        let ping = Message::parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).unwrap();
        let sent = ToServer::without_permit(ping.clone());
        assert_eq!(sent.begin(), Ok(()));
        assert!(!sent.handover.decide());
        let withdrawn = ToServer::without_permit(ping);
        assert!(withdrawn.handover.decide());
        assert_eq!(withdrawn.begin(), Err(NotSent::Withdrawn));
    }
}
