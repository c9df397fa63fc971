//! Tool calls as models emit them, through the same gate and without the protocol: [`ToolGate`].

mod call;
mod envelope;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use atlasent::Permit;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::caller::Caller;
use crate::gate::{AuthorizedOperation, Gate, Progress};
use crate::mapping::MappingError;
use crate::operation::Operation;
use crate::refusal::Refusal;
use crate::tool::{Tool, ToolError};
use call::EmittedCall;

type Running = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;
type Body = dyn Fn(ToolCall) -> Running + Send + Sync;

/// Runs the tool calls of a model, each with a permit.
///
/// The calls are those of OpenAI's chat completions (`"type": "function"`) and responses
/// (`"type": "function_call"`), and of Anthropic's messages (`"type": "tool_use"`). A tool that is
/// not in the table is refused, and so are arguments that do not fit their schema.
///
/// ```
/// use std::sync::Arc;
/// use atlasent::testing::MockAuthority;
/// use atlasent_mcp::gate::Silent;
/// use atlasent_mcp::{Caller, Gate, Mapping, Tool, ToolGate};
/// use serde::Deserialize;
/// use serde_json::json;
///
/// #[derive(Deserialize)]
/// struct Weather {
///     city: String,
/// }
///
/// # futures_executor::block_on(async {
/// let authority = Arc::new(MockAuthority::new().allow("mcp.assistant.weather"));
/// let gate = Gate::builder(authority, Mapping::standard("assistant")?).build();
/// let weather = Tool::new("weather", json!({
///     "type": "object",
///     "properties": {"city": {"type": "string"}},
///     "required": ["city"],
/// }))?;
/// let tools = ToolGate::builder(gate)
///     .tool(weather, async |call| {
///         let Weather { city } = call.arguments().map_err(|error| error.to_string())?;
///         Ok::<_, String>(format!("it rains in {city}"))
///     })
///     .build()?;
///
/// let call = r#"{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city":"Bergen"}}"#;
/// let answer = tools.call(call, &Caller::configured("assistant")?, &Silent).await;
/// assert_eq!(answer.message()["content"], "it rains in Bergen");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct ToolGate {
    gate: Gate,
    bodies: Arc<BTreeMap<String, Arc<Body>>>,
}

impl ToolGate {
    /// Starts a table of tools behind a gate.
    pub fn builder(gate: Gate) -> ToolGateBuilder {
        ToolGateBuilder {
            gate,
            tools: Vec::new(),
            bodies: BTreeMap::new(),
        }
    }

    /// Runs one tool call of a model, given as the JSON that the model emitted, and returns the
    /// message to send back. A refusal is such a message.
    ///
    /// A call that is malformed, such as one that repeats a member, is refused in its shape if its
    /// `type` and its id can be read. Any other text is refused in the shape of OpenAI's chat
    /// completions, with an empty id.
    ///
    /// Dropping the future ends the tool, and its receipt says that it was cancelled.
    pub async fn call<P: Progress + ?Sized>(
        &self,
        json: &str,
        caller: &Caller,
        progress: &P,
    ) -> ToolAnswer {
        let call = match EmittedCall::parse(json) {
            Ok(call) => call,
            Err(refusal) => return ToolAnswer::refused(EmittedCall::unreadable(json), refusal),
        };
        let result = self.run(&call, caller, progress).await;
        match result {
            Ok(Ok(text)) => ToolAnswer::new(call, text, false),
            Ok(Err(text)) => ToolAnswer::new(call, text, true),
            Err(refusal) => ToolAnswer::refused(call, refusal),
        }
    }

    async fn run<P: Progress + ?Sized>(
        &self,
        call: &EmittedCall,
        caller: &Caller,
        progress: &P,
    ) -> Result<Result<String, String>, Refusal> {
        let operation = Operation::tool(&call.name, &call.arguments)?;
        let mut clearance = self.gate.authorize(&operation, caller, progress).await?;
        let body = self.bodies.get(&call.name);
        // The gate refuses unknown tools, and a tool call always has a permit.
        let (Some(body), Some(answers)) = (body, clearance.take_permit()) else {
            return Err(Refusal::deny("NO_SUCH_TOOL", "there is no such tool"));
        };
        let result = body(ToolCall(answers.permit)).await;
        match &result {
            Ok(text) => clearance.completed(text),
            // The tool's own text may hold values of a customer, which the trail keeps for good.
            Err(_) => clearance.failed("the tool returned an error"),
        }
        Ok(result)
    }
}

impl fmt::Debug for ToolGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolGate")
            .field("gate", &self.gate)
            .field("tools", &self.bodies.keys())
            .finish()
    }
}

/// Builds a [`ToolGate`].
#[must_use = "a builder does nothing until `build`"]
pub struct ToolGateBuilder {
    gate: Gate,
    tools: Vec<Tool>,
    bodies: BTreeMap<String, Arc<Body>>,
}

impl ToolGateBuilder {
    /// Adds a tool and its body, which returns the text for the model, or the text of an error.
    pub fn tool<B, F, E>(mut self, tool: Tool, body: B) -> Self
    where
        B: Fn(ToolCall) -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        let name = tool.name().to_owned();
        let body = move |call| -> Running {
            let running = body(call);
            Box::pin(async move { running.await.map_err(|error| error.to_string()) })
        };
        self.bodies.insert(name, Arc::new(body));
        self.tools.push(tool);
        self
    }

    /// Builds the gate.
    ///
    /// # Errors
    ///
    /// [`ToolGateError`] if two tools have one name, a schema cannot be used, or the mapping names
    /// a tool that is not in the table.
    pub fn build(self) -> Result<ToolGate, ToolGateError> {
        if let Some(unusable) = self.gate.set_tools(self.tools)?.into_iter().next() {
            return Err(unusable.into());
        }
        Ok(ToolGate {
            gate: self.gate,
            bodies: Arc::new(self.bodies),
        })
    }
}

impl fmt::Debug for ToolGateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolGateBuilder")
            .field("tools", &self.bodies.keys())
            .finish_non_exhaustive()
    }
}

/// Why a table of tools cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolGateError {
    /// The mapping does not fit the tools.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A tool cannot be used.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// A call that may run. It owns the permit, and the arguments that were decided on.
#[derive(Debug)]
pub struct ToolCall(Permit<AuthorizedOperation>);

impl ToolCall {
    /// Reads the arguments that were decided on.
    ///
    /// # Errors
    ///
    /// An error of `serde_json` if `T` needs more than the tool's schema says.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }

    /// Returns the text of the arguments that were decided on.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.operation().arguments()
    }

    /// Returns the permit.
    pub fn permit(&self) -> &Permit<AuthorizedOperation> {
        &self.0
    }
}

/// The answer to a tool call of a model.
#[derive(Clone, Debug)]
pub struct ToolAnswer {
    call: EmittedCall,
    text: String,
    is_error: bool,
    refusal: Option<Refusal>,
}

impl ToolAnswer {
    fn new(call: EmittedCall, text: String, is_error: bool) -> Self {
        Self {
            call,
            text,
            is_error,
            refusal: None,
        }
    }

    fn refused(call: EmittedCall, refusal: Refusal) -> Self {
        Self {
            call,
            text: format!("{}\n{}", refusal.advice(), refusal.data()),
            is_error: true,
            refusal: Some(refusal),
        }
    }

    /// Returns the message for the model, in the shape that fits the call.
    #[must_use]
    pub fn message(&self) -> Value {
        self.call.answer(&self.text, self.is_error)
    }

    /// Returns why the tool did not run, if it did not.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Returns whether the tool did not run, or returned an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.is_error
    }
}

#[cfg(test)]
mod tests;
