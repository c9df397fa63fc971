//! A server of `rmcp` behind a gate: [`GuardedServer`].
//!
//! The wrapper stands where `rmcp` hands a message to a server, and sees every message as one
//! value. It does not list the methods of a server, so a method that a later version adds is
//! refused until it is mapped.
//!
//! ```text
//! rmcp ──► GuardedServer::handle_request ──► Operation ──► Gate ──► Clearance
//!                                                                      │ the permit is within reach
//!                                               the server's own code ◄┘ of `#[protect]`, once
//! ```

mod callers;
mod lists;
mod message;
mod peer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use atlasent::authority::hand_on;
use rmcp::model::{
    ClientNotification, ClientRequest, ErrorCode, ProtocolVersion, ServerCapabilities,
    ServerConfig, ServerResult,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, Service};

pub use callers::Callers;
pub use peer::GuardedTransport;

use crate::caller::Caller;
use crate::gate::{Clearance, Gate, Silent};
use crate::operation::{Kind, Operation};
use crate::refusal::Refusal;
use message::{ProgressNotifications, tool_names};

/// Puts a [`Gate`] in front of a server of `rmcp`. Each request that needs a permit reaches the
/// server with one, or not at all.
///
/// ```
/// use std::sync::Arc;
/// use atlasent::Authority;
/// use atlasent_mcp::{Caller, Gate, Mapping};
/// use atlasent_mcp::server::{Callers, GuardedServer};
/// use rmcp::{ServiceExt, tool, tool_router};
///
/// #[derive(Clone)]
/// struct Files;
///
/// #[tool_router(server_handler)]
/// impl Files {
///     /// Lists the files.
///     #[tool]
///     async fn list(&self) -> String {
///         "a.txt".to_owned()
///     }
/// }
///
/// # async fn f(authority: impl Authority + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// let gate = Gate::builder(Arc::new(authority), Mapping::standard("files")?).build();
/// let tools = Files::tool_router().list_all();
/// let agent = Callers::configured(Caller::configured("desktop-agent")?);
/// let server = GuardedServer::new(Files, tools, gate, agent)?;
/// let (read, write) = (tokio::io::stdin(), tokio::io::stdout());
/// server.serve((read, write)).await?.waiting().await?;
/// # Ok(()) }
/// ```
///
/// # What is covered
///
/// - Every request from the client, including tasks, skills and methods that only the server knows.
/// - Notifications from the client other than those of the protocol.
/// - Requests to the client within a result or an error: `InputRequiredResult`, a task that needs
///   input, the error -32042.
///
/// The requests that a server sends through its `Peer` are covered by [`GuardedTransport`].
///
/// # `#[protect]` on tools
///
/// A tool that is protected by itself keeps its protection. If both would ask the same authority
/// the same question (agent, action, resource, context and options), the tool takes the permit of
/// the gate, and the authority is asked once. Map the tool to the action of its `#[protect]` for
/// this. At any difference the tool asks for its own permit.
pub struct GuardedServer<S> {
    server: Arc<S>,
    gate: Gate,
    callers: Callers,
    /// Whether the task that announces changed lists has started for this session.
    announces: AtomicBool,
}

impl<S: Service<RoleServer>> GuardedServer<S> {
    /// Guards a server. `tools` are all its tools; calls of others are refused.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the mapping names a tool that does not exist, or a tool has a schema that
    /// cannot be used.
    pub fn new(
        server: S,
        tools: Vec<rmcp::model::Tool>,
        gate: Gate,
        callers: Callers,
    ) -> Result<Self, SetupError> {
        let tools = tool_names(&tools)?;
        if let Some(unusable) = gate.set_tools(tools)?.into_iter().next() {
            return Err(unusable.into());
        }
        Ok(Self {
            server: Arc::new(server),
            gate,
            callers,
            announces: AtomicBool::new(false),
        })
    }

    /// Returns the gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Obtains the clearance for a request. A request that is cancelled while it waits gets none.
    async fn clear(
        &self,
        operation: &Operation,
        caller: &Result<Caller, Refusal>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Clearance, Refusal> {
        if operation.kind() == Kind::Lifecycle {
            return Ok(Clearance::open(operation));
        }
        let caller = caller.as_ref().map_err(Clone::clone)?;
        let progress = ProgressNotifications::of_request(context);
        let cancelled = || Refusal::unavailable("CANCELLED", "the request was cancelled");
        let authorizing = self.gate.authorize(operation, caller, &progress);
        let clearance = context.ct.run_until_cancelled(authorizing).await;
        let clearance = clearance.ok_or_else(cancelled)??;
        match context.ct.is_cancelled() {
            true => Err(cancelled()),
            false => Ok(clearance),
        }
    }

    /// Runs a request that may run, and records how it ended.
    async fn run(
        &self,
        mut clearance: Clearance,
        request: ClientRequest,
        caller: &Result<Caller, Refusal>,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let handled = self.server.handle_request(request, context);
        let result = match clearance.take_permit() {
            Some(permit) => hand_on(permit, handled).await,
            None => handled.await,
        };
        let operation = clearance.operation().clone();
        let text = match &result {
            Ok(result) => serde_json::to_string(result),
            Err(error) => serde_json::to_string(error),
        };
        // A result that cannot be serialized cannot be sent either.
        let text = text.unwrap_or_default();
        match &result {
            Ok(ServerResult::CallToolResult(result)) if result.is_error == Some(true) => {
                clearance.failed("the tool returned an error");
            }
            Ok(_) => clearance.completed(&text),
            Err(error) => {
                clearance.failed(format!("the server returned the error {}", error.code.0));
            }
        }
        let inputs = self.gate.authorize_inputs(&text, caller.as_ref());
        if let Err(refusal) = inputs.await {
            return refused(&self.gate, &operation, &refusal);
        }
        match (result?, caller) {
            (ServerResult::InitializeResult(mut result), _) => {
                announce_lists(&mut result.capabilities);
                Ok(ServerResult::InitializeResult(result))
            }
            (result, Ok(caller)) => lists::filter(&self.gate, &operation, result, caller)
                .await
                .or_else(|refusal| refused(&self.gate, &operation, &refusal)),
            // Without a caller only a lifecycle message runs, whose result is no list.
            (result, Err(_)) => Ok(result),
        }
    }
}

impl<S: Service<RoleServer>> Service<RoleServer> for GuardedServer<S> {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let operation = match message::of_request(&request) {
            Ok(operation) => operation,
            Err(refusal) => return Err(error_data(&refusal)),
        };
        let caller = self.callers.of_request(&context.extensions);
        match self.clear(&operation, &caller, &context).await {
            Ok(clearance) => {
                if operation.kind() == Kind::List {
                    self.announce_changes(&context.peer);
                }
                self.run(clearance, request, &caller, context).await
            }
            Err(refusal) => refused(&self.gate, &operation, &refusal),
        }
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let operation = match message::of_notification(&notification) {
            Ok(operation) => operation,
            Err(refusal) => return Err(error_data(&refusal)),
        };
        let clearance = match operation.kind() {
            Kind::Lifecycle => Ok(Clearance::open(&operation)),
            _ => match self.callers.of_request(&context.extensions) {
                Ok(caller) => self.gate.authorize(&operation, &caller, &Silent).await,
                Err(refusal) => Err(refusal),
            },
        };
        let mut clearance = clearance.map_err(|refusal| error_data(&refusal))?;
        let handled = self.server.handle_notification(notification, context);
        let result = match clearance.take_permit() {
            Some(permit) => hand_on(permit, handled).await,
            None => handled.await,
        };
        match &result {
            Ok(()) => clearance.completed(""),
            Err(error) => {
                clearance.failed(format!("the server returned the error {}", error.code.0));
            }
        }
        result
    }

    fn get_info(&self) -> ServerConfig {
        let mut info = self.server.get_info();
        announce_lists(&mut info.capabilities);
        info
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        self.server.supported_protocol_versions()
    }
}

/// A clone is for another session of the same server.
impl<S> Clone for GuardedServer<S> {
    fn clone(&self) -> Self {
        Self {
            server: Arc::clone(&self.server),
            gate: self.gate.clone(),
            callers: self.callers.clone(),
            announces: AtomicBool::new(false),
        }
    }
}

impl<S> fmt::Debug for GuardedServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedServer")
            .field("gate", &self.gate)
            .field("callers", &self.callers)
            .finish_non_exhaustive()
    }
}

/// Why a server cannot be guarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The mapping does not fit the tools.
    #[error(transparent)]
    Mapping(#[from] crate::MappingError),
    /// A tool has a description that cannot be used.
    #[error(transparent)]
    Tool(#[from] crate::ToolError),
}

/// Says that the lists which the server has may change.
fn announce_lists(capabilities: &mut ServerCapabilities) {
    if let Some(tools) = &mut capabilities.tools {
        tools.list_changed = Some(true);
    }
    if let Some(prompts) = &mut capabilities.prompts {
        prompts.list_changed = Some(true);
    }
    if let Some(resources) = &mut capabilities.resources {
        resources.list_changed = Some(true);
    }
}

/// Returns the response to a refused request: a tool result that the model reads, or an error.
fn refused(
    gate: &Gate,
    operation: &Operation,
    refusal: &Refusal,
) -> Result<ServerResult, ErrorData> {
    if operation.kind() != Kind::Tool {
        return Err(error_data(refusal));
    }
    let name = operation.target().unwrap_or_default();
    let result = refusal.tool_result(gate.has_output_schema(name));
    let result = serde_json::from_value(result).map(ServerResult::CallToolResult);
    result.map_err(|_| error_data(refusal))
}

fn error_data(refusal: &Refusal) -> ErrorData {
    let code = i32::try_from(refusal.rpc_code()).unwrap_or(ErrorCode::INTERNAL_ERROR.0);
    ErrorData::new(ErrorCode(code), refusal.advice(), Some(refusal.data()))
}
