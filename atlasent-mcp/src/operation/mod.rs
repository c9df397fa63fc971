//! What a message of the protocol asks for: [`Operation`], read from a method and its `params`.
//!
//! | method | kind | target | context |
//! |---|---|---|---|
//! | `tools/call` | [`Tool`](Kind::Tool) | the tool | `arguments`, `inputResponses`, `requestState` |
//! | `prompts/get` | [`Prompt`](Kind::Prompt) | the prompt | `arguments`, `inputResponses`, `requestState` |
//! | `resources/read`, `resources/directory/read`, `resources/subscribe`, `skills/get` | [`Resource`](Kind::Resource) | the `uri` | the params |
//! | `subscriptions/listen` with `resourceSubscriptions` | [`Other`](Kind::Other) | | the params |
//! | `tasks/get`, `tasks/result`, `tasks/update`, `tasks/cancel` | [`Task`](Kind::Task) | the `taskId` | the params |
//! | `completion/complete`, `logging/setLevel`, `tasks/list` | [`Other`](Kind::Other) | | the params |
//! | `sampling/createMessage`, `elicitation/create`, `roots/list` | [`Client`](Kind::Client) | | the params |
//! | `tools/list`, `resources/list`, `resources/templates/list`, `prompts/list`, `skills/list` | [`List`](Kind::List) | | |
//! | `initialize`, `ping`, `server/discover`, `resources/unsubscribe`, `subscriptions/listen`, the known notifications | [`Lifecycle`](Kind::Lifecycle) | | |
//! | every other method | [`Unknown`](Kind::Unknown) | | the params |
//!
//! "The params" are all members of `params` except those that belong to the protocol itself:
//! `_meta`, the `cursor` of a list, and the `task` of `tools/call`, `sampling/createMessage` and
//! `elicitation/create`. A `task` only changes how a result is delivered, so a call as a task is
//! the same operation. For a method that this version does not know, only `_meta` is left out.
//!
//! `inputResponses` and `requestState` of a call or a prompt answer what the server asked for in an
//! earlier result. The server acts on them, so they are members of the context, beside the
//! arguments. An argument with one of these names is refused.

mod params;

use std::fmt;
use std::sync::Arc;

use atlasent::Context;
use atlasent::text::Escaped;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use params::{ANSWERS, Params};

/// The notifications that a server sends.
const OF_SERVER: [&str; 11] = [
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks",
    "notifications/tasks/status",
    "notifications/tools/list_changed",
];

/// The notifications that only a client sends.
const OF_CLIENT: [&str; 3] = [
    "notifications/elicitation/response",
    "notifications/initialized",
    "notifications/roots/list_changed",
];

/// Returns whether a method is that of a notification which servers send.
#[cfg(any(feature = "guard", feature = "rmcp"))]
pub(crate) fn is_notification_of_server(method: &str) -> bool {
    OF_SERVER.contains(&method)
}

/// The kind of an [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A call of a tool, also as a task.
    Tool,
    /// A prompt with its arguments.
    Prompt,
    /// A resource, a directory of resources, a subscription of one, or a skill.
    Resource,
    /// A task of an earlier call: its state, its result, or its end.
    Task,
    /// A request from the server to the client: sampling, elicitation, or the client's roots.
    Client,
    /// A list, which shows what the caller could do.
    List,
    /// Another request of the protocol that reads or changes something.
    Other,
    /// A message that starts, keeps or ends the connection, or reports on it. It needs no permit.
    Lifecycle,
    /// A method that this version does not know.
    Unknown,
}

/// What a message asks for.
///
/// An operation is read from the text of a message, and keeps the text of what is decided on: what
/// an authority allowed is forwarded byte for byte.
///
/// ```
/// use atlasent_mcp::operation::{Kind, Operation};
/// use serde_json::value::RawValue;
///
/// let params = r#"{"name":"transfer","arguments":{"amount": 1.50}}"#;
/// let params: &RawValue = serde_json::from_str(params)?;
/// let operation = Operation::parse("tools/call", Some(params)).unwrap();
/// assert_eq!(operation.kind(), Kind::Tool);
/// assert_eq!(operation.target(), Some("transfer"));
/// assert_eq!(operation.arguments(), r#"{"amount": 1.50}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Operation {
    kind: Kind,
    method: Box<str>,
    target: Option<Box<str>>,
    arguments: Arc<str>,
    context: Context,
    is_task: bool,
}

impl Operation {
    /// Reads a request or a notification, in either direction.
    ///
    /// Absent `params`, and absent or `null` `arguments`, are an empty object.
    ///
    /// # Errors
    ///
    /// [`OperationError`] if `params` is not an object, repeats a member at any depth, or lacks a
    /// member that the method needs, or has it with another type. Also if the `params` of
    /// `tools/call` or `prompts/get`, or a `task`, have a member that the protocol does not know:
    /// a server could act on it, although no policy saw it.
    pub fn parse(method: &str, params: Option<&RawValue>) -> Result<Self, OperationError> {
        let params = Params::parse(method, params)?;
        let kind = match method {
            "tools/call" => return params.with_arguments(Kind::Tool),
            "prompts/get" => return params.with_arguments(Kind::Prompt),
            "resources/read"
            | "resources/directory/read"
            | "resources/subscribe"
            | "skills/get" => return params.with_target(Kind::Resource, "uri"),
            "tasks/get" | "tasks/result" | "tasks/update" | "tasks/cancel" => {
                return params.with_target(Kind::Task, "taskId");
            }
            "subscriptions/listen" if params.subscribes_to_resources() => Kind::Other,
            "completion/complete" | "logging/setLevel" | "tasks/list" => Kind::Other,
            "sampling/createMessage" | "elicitation/create" | "roots/list" => Kind::Client,
            "tools/list"
            | "resources/list"
            | "resources/templates/list"
            | "prompts/list"
            | "skills/list" => Kind::List,
            "initialize"
            | "ping"
            | "server/discover"
            | "resources/unsubscribe"
            | "subscriptions/listen" => Kind::Lifecycle,
            notification
                if OF_SERVER.contains(&notification) || OF_CLIENT.contains(&notification) =>
            {
                Kind::Lifecycle
            }
            _ => Kind::Unknown,
        };
        params.with_context(kind, None)
    }

    /// Creates the call of a tool, for calls that do not arrive as a message of the protocol.
    ///
    /// # Errors
    ///
    /// [`OperationError`] if the name is empty, if the arguments are not the text of a JSON object
    /// without repeated members, or if an argument is called `inputResponses` or `requestState`.
    pub fn tool(name: &str, arguments: &str) -> Result<Self, OperationError> {
        let error = |what: String| OperationError::new("tools/call", what);
        if name.is_empty() {
            return Err(error("its `name` is empty".to_owned()));
        }
        let context = Context::parse(arguments)
            .map_err(|why| error(format!("its arguments cannot be read: {}", cause(&why))))?;
        params::check_names("tools/call", &context)?;
        Ok(Self {
            kind: Kind::Tool,
            method: "tools/call".into(),
            target: Some(name.into()),
            arguments: arguments.into(),
            context,
            is_task: false,
        })
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the method of the message, such as `tools/call`.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the name of the tool or prompt, the URI, or the id of the task.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Returns the text of a JSON object, as it was written: the arguments of a tool or a prompt,
    /// or, for all other methods, the members of `params` that are decided on.
    #[must_use]
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// Returns the context that an authority decides on: [`arguments`](Self::arguments), with the
    /// text of each number, and the `inputResponses` and `requestState` of a call or a prompt.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the values of [`arguments`](Self::arguments).
    pub(crate) fn argument_values(&self) -> Map<String, Value> {
        let mut values = self.context.as_object().clone();
        if matches!(self.kind, Kind::Tool | Kind::Prompt) {
            // `ANSWERS` are not arguments: an argument with one of these names was refused.
            values.retain(|name, _| !ANSWERS.contains(&&**name));
        }
        values
    }

    /// Returns whether the request is sent as a task. Its sender expects a task or an error, and
    /// cannot read the result of a call.
    #[must_use]
    pub fn is_task(&self) -> bool {
        self.is_task
    }

    /// Returns whether a server may send this operation to its client. With any other one, the
    /// server would act in the name of the agent.
    #[cfg(any(feature = "guard", feature = "rmcp"))]
    pub(crate) fn is_for_client(&self) -> bool {
        match self.kind {
            // A client runs sampling and elicitation as tasks, too.
            Kind::Client | Kind::Task | Kind::Unknown => true,
            _ => matches!(self.method(), "ping" | "tasks/list"),
        }
    }

    /// Returns whether a client may send this operation to a server.
    #[cfg(any(feature = "guard", feature = "rmcp"))]
    pub(crate) fn is_for_server(&self) -> bool {
        self.kind != Kind::Client
    }

    /// Returns whether the operation needs no permit.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.kind, Kind::Lifecycle | Kind::List)
    }
}

/// Prints the method and the target, and omits the arguments, which may be secret.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("kind", &self.kind)
            .field("method", &self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Returns the start of a text from outside, for a message.
pub(crate) fn shown(text: &str) -> String {
    const LIMIT: usize = 64;
    let cut: String = text.chars().take(LIMIT).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", Escaped::new(&cut))
}

/// A message that cannot be read as an operation. The message names the place and quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message `{method}` is malformed: {what}")]
pub struct OperationError {
    method: String,
    what: String,
}

/// Returns why a context cannot be read, without the name that the error gives it.
fn cause(error: &atlasent::Error) -> String {
    let text = error.to_string();
    let cause = text.rsplit("cannot be read: ").next();
    cause.unwrap_or_default().to_owned()
}

impl OperationError {
    fn new(method: &str, what: String) -> Self {
        Self {
            method: shown(method),
            what,
        }
    }
}

#[cfg(test)]
mod tests;
