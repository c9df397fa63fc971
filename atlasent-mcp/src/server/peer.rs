//! Requests from a server to its client: sampling, elicitation and roots.
//!
//! A server sends them through its `Peer`, which nothing can wrap. All of them pass the transport,
//! so the gate stands there:
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
use rmcp::model::{ClientResult, JsonRpcMessage, RequestId, ServerRequest};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::mpsc;

use super::{error_data, message};
use crate::caller::Caller;
use crate::gate::{Clearance, Gate, Silent};
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
    /// The clearances of requests that the client has not answered.
    running: HashMap<RequestId, Clearance>,
}

/// A request to the client that was decided on.
struct Decided {
    id: RequestId,
    request: ServerRequest,
    clearance: Result<Clearance, Refusal>,
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
            running: HashMap::new(),
        }
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
                tokio::spawn(async move {
                    let clearance = decide(&gate, &caller, &request.request).await;
                    // The receiver is gone only if the connection is.
                    let _ = decides.send(Decided {
                        id: request.id,
                        request: request.request,
                        clearance,
                    });
                });
                None
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
            match decided.clearance {
                Ok(clearance) => {
                    self.running.insert(decided.id.clone(), clearance);
                    let request = JsonRpcMessage::request(decided.request, decided.id);
                    // Not awaited: this future may be dropped at any time.
                    let sending = self.transport.send(request);
                    tokio::spawn(async move {
                        if let Err(error) = sending.await {
                            tracing::warn!(target: "atlasent_mcp", %error, "a request was not sent to the client");
                        }
                    });
                }
                Err(refusal) => {
                    return Some(JsonRpcMessage::error(
                        error_data(&refusal),
                        Some(decided.id),
                    ));
                }
            }
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
