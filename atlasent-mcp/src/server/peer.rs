//! Requests from a server to its client: sampling, elicitation and roots, including those within a
//! notification of a task.
//!
//! A server sends them through its `Peer`, which cannot be wrapped. So the transport, which all of
//! them pass, asks the gate. Notifications that the protocol does not know are dropped.
//!
//! ```text
//! server ── request ──► GuardedTransport::send ── authorized? ── yes ──► client
//!    ▲                                                 └── no: an error, as if the client refused
//!    └── response ◄── GuardedTransport::receive ◄── client
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use rmcp::RoleServer;
use rmcp::model::{ClientResult, JsonRpcMessage, RequestId, ServerNotification, ServerRequest};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{error_data, message};
use crate::caller::Caller;
use crate::gate::{Clearance, Gate, Silent, asks_nothing};
use crate::refusal::Refusal;

/// Puts a [`Gate`] in front of the client: each request that the server sends needs a permit.
///
/// Give it to `serve` in place of the transport. It is for transports that carry one client, such
/// as stdio. The sessions of a streamable HTTP server make their transports themselves, so requests
/// from such a server to its clients are not covered; servers of the protocol 2026-07-28 send them
/// within results, which [`GuardedServer`](super::GuardedServer) covers.
///
/// ```
/// # use atlasent_mcp::{Caller, Gate};
/// # use atlasent_mcp::server::{GuardedServer, GuardedTransport};
/// # use rmcp::{RoleServer, Service, ServiceExt};
/// # async fn f<S: Service<RoleServer>>(server: GuardedServer<S>, gate: Gate, agent: Caller) {
/// use rmcp::transport::async_rw::AsyncRwTransport;
///
/// let stdio = AsyncRwTransport::new_server(tokio::io::stdin(), tokio::io::stdout());
/// let running = server.serve(GuardedTransport::new(stdio, gate, agent)).await;
/// # drop(running);
/// # }
/// ```
pub struct GuardedTransport<T> {
    transport: T,
    gate: Gate,
    caller: Caller,
    decided: mpsc::UnboundedReceiver<Decided>,
    decides: mpsc::UnboundedSender<Decided>,
    /// The requests that are being decided on. A task ends with its entry.
    deciding: HashMap<RequestId, Deciding>,
    /// The clearances of requests that the client has not answered.
    running: HashMap<RequestId, Clearance>,
}

/// A message to the client that was decided on.
enum Decided {
    Request(Box<DecidedRequest>),
    /// A notification whose requests are all permitted.
    Notification(Box<ServerNotification>),
}

/// A request to the client that was decided on.
struct DecidedRequest {
    id: RequestId,
    request: ServerRequest,
    clearance: Result<Clearance, Refusal>,
}

/// The task that decides on a request. Dropping it ends the task.
struct Deciding(AbortHandle);

impl Drop for Deciding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> GuardedTransport<T> {
    /// Guards a transport. `caller` is the agent in whose name the client is asked.
    pub fn new(transport: T, gate: Gate, caller: Caller) -> Self {
        let (decides, decided) = mpsc::unbounded_channel();
        Self {
            transport,
            gate,
            caller,
            decided,
            decides,
            deciding: HashMap::new(),
            running: HashMap::new(),
        }
    }

    /// Returns whether a notification can be sent at once. One that asks the client for something
    /// is decided on first, and sent then. One that the protocol does not know is dropped, and so is
    /// the cancellation of a request that the client does not have.
    fn may_notify(&mut self, notification: &ServerNotification) -> bool {
        if let ServerNotification::CancelledNotification(cancelled) = notification {
            let id = cancelled.params.request_id.as_ref();
            return id.is_none_or(|id| self.cancel(id));
        }
        let (ServerNotification::TaskStatusNotification(_)
        | ServerNotification::CustomNotification(_)) = notification
        else {
            return true;
        };
        let text = serde_json::to_string(notification).unwrap_or_default();
        let Some(params) = message::params_of_notification(&text) else {
            tracing::warn!(target: "atlasent_mcp", "dropped a notification of the server that the protocol does not know");
            return false;
        };
        if asks_nothing(params) {
            return true;
        }
        let params = params.to_owned();
        let (gate, caller) = (self.gate.clone(), self.caller.clone());
        let (decides, notification) = (self.decides.clone(), notification.clone());
        tokio::spawn(async move {
            match gate.authorize_inputs(&params, Ok(&caller)).await {
                // Sending fails only after the connection has ended.
                Ok(()) => drop(decides.send(Decided::Notification(Box::new(notification)))),
                Err(refusal) => tracing::warn!(
                    target: "atlasent_mcp",
                    reason = refusal.reason(),
                    "dropped a notification of the server that asks the client for something"
                ),
            }
        });
        false
    }

    /// Gives up a request to the client. Returns whether the client may have it.
    fn cancel(&mut self, id: &RequestId) -> bool {
        // A clearance that is dropped is recorded as cancelled.
        drop(self.running.remove(id));
        self.deciding.remove(id).is_none()
    }

    /// Records how a request to the client ended, if the message answers one.
    fn record(&mut self, message: &RxJsonRpcMessage<RoleServer>) {
        match message {
            JsonRpcMessage::Response(response) => {
                if let Some(clearance) = self.running.remove(&response.id) {
                    let result: &ClientResult = &response.result;
                    clearance.completed(serde_json::to_vec(result).unwrap_or_default());
                }
            }
            JsonRpcMessage::Error(error) => {
                let clearance = error.id.as_ref().and_then(|id| self.running.remove(id));
                if let Some(clearance) = clearance {
                    clearance.failed(format!(
                        "the client returned the error {}",
                        error.error.code.0
                    ));
                }
            }
            _ => {}
        }
    }
}

impl<T: Transport<RoleServer> + 'static> Transport<RoleServer> for GuardedTransport<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let sent = match item {
            JsonRpcMessage::Request(request)
                if !matches!(request.request, ServerRequest::PingRequest(_)) =>
            {
                let (gate, caller) = (self.gate.clone(), self.caller.clone());
                let decides = self.decides.clone();
                let id = request.id.clone();
                let task = tokio::spawn(async move {
                    let clearance = decide(&gate, &caller, &request.request).await;
                    // Sending fails only after the connection has ended.
                    let _ = decides.send(Decided::Request(Box::new(DecidedRequest {
                        id: request.id,
                        request: request.request,
                        clearance,
                    })));
                });
                self.deciding.insert(id, Deciding(task.abort_handle()));
                None
            }
            JsonRpcMessage::Notification(message) => {
                let notification = message.notification;
                match self.may_notify(&notification) {
                    true => Some(
                        self.transport
                            .send(JsonRpcMessage::notification(notification)),
                    ),
                    false => None,
                }
            }
            item => Some(self.transport.send(item)),
        };
        async move {
            match sent {
                Some(sending) => sending.await,
                None => Ok(()),
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let decided = tokio::select! {
                message = self.transport.receive() => {
                    let message = message?;
                    self.record(&message);
                    return Some(message);
                }
                decided = self.decided.recv() => decided?,
            };
            let message = match decided {
                // The server gave the request up in the meantime.
                Decided::Request(decided) if self.deciding.remove(&decided.id).is_none() => {
                    continue;
                }
                Decided::Request(decided) => match decided.clearance {
                    Ok(clearance) => {
                        self.running.insert(decided.id.clone(), clearance);
                        JsonRpcMessage::request(decided.request, decided.id)
                    }
                    Err(refusal) => {
                        let error = error_data(&refusal);
                        return Some(JsonRpcMessage::error(error, Some(decided.id)));
                    }
                },
                Decided::Notification(notification) => JsonRpcMessage::notification(*notification),
            };
            // Not awaited: this future may be dropped at any time.
            let sending = self.transport.send(message);
            tokio::spawn(async move {
                if let Err(error) = sending.await {
                    tracing::warn!(target: "atlasent_mcp", %error, "a message was not sent to the client");
                }
            });
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.transport.close().await
    }
}

async fn decide(
    gate: &Gate,
    caller: &Caller,
    request: &ServerRequest,
) -> Result<Clearance, Refusal> {
    let text = serde_json::to_string(request)
        .map_err(|_| Refusal::invalid("MALFORMED", "the message cannot be written"))?;
    let operation = message::operation(&text)?;
    match operation.is_for_client() {
        true => gate.authorize(&operation, caller, &Silent).await,
        false => Err(Refusal::unmapped(&operation)),
    }
}

impl<T> fmt::Debug for GuardedTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedTransport")
            .field("gate", &self.gate)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
