//! Tool calls as models emit them, through the same gate and without the protocol: [`ToolGate`].

mod call;

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
    /// Dropping the future ends the tool, and its receipt says that it was cancelled.
    pub async fn call<P: Progress + ?Sized>(
        &self,
        json: &str,
        caller: &Caller,
        progress: &P,
    ) -> ToolAnswer {
        let call = match EmittedCall::parse(json) {
            Ok(call) => call,
            Err(refusal) => return ToolAnswer::refused(EmittedCall::unreadable(), refusal),
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use atlasent::testing::MockAuthority;
    use serde_json::json;

    use super::*;
    use crate::Mapping;
    use crate::gate::Silent;

    fn table(authority: &Arc<MockAuthority>, runs: &Arc<AtomicUsize>) -> ToolGate {
        let gate = Gate::builder(Arc::clone(authority) as _, Mapping::standard("a").unwrap());
        let tool = Tool::new(
            "pay",
            json!({"properties": {"cents": {"type": "integer"}}, "required": ["cents"]}),
        );
        let runs = Arc::clone(runs);
        let body = move |call: ToolCall| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, String>(call.text().to_owned()) }
        };
        ToolGate::builder(gate.build())
            .tool(tool.unwrap(), body)
            .build()
            .unwrap()
    }

    fn answer(authority: MockAuthority, call: &str) -> (ToolAnswer, usize, Arc<MockAuthority>) {
        let (authority, runs) = (Arc::new(authority), Arc::new(AtomicUsize::new(0)));
        let table = table(&authority, &runs);
        let caller = Caller::configured("bot").unwrap();
        let answer = futures_executor::block_on(table.call(call, &caller, &Silent));
        (answer, runs.load(Ordering::SeqCst), authority)
    }

    const CALLS: [&str; 3] = [
        r#"{"id":"c1","type":"function","function":{"name":"pay","arguments":"{\"cents\": 7}"}}"#,
        r#"{"type":"function_call","call_id":"c1","name":"pay","arguments":"{\"cents\": 7}"}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents": 7}}"#,
    ];

    #[test]
    fn each_shape_runs_what_was_decided_on_and_is_answered_in_its_shape() {
        let answers = [
            json!({"role": "tool", "tool_call_id": "c1", "content": r#"{"cents": 7}"#}),
            json!({"type": "function_call_output", "call_id": "c1", "output": r#"{"cents": 7}"#}),
            json!({"type": "tool_result", "tool_use_id": "c1", "content": r#"{"cents": 7}"#, "is_error": false}),
        ];
        for (call, expected) in CALLS.into_iter().zip(answers) {
            let (answer, runs, authority) = answer(MockAuthority::new().allow("mcp.a.pay"), call);
            assert_eq!((answer.message(), runs), (expected, 1), "{call}");
            assert_eq!(authority.calls().len(), 2);
        }
    }

    #[test]
    fn what_is_not_allowed_does_not_run() {
        for call in CALLS {
            for authority in [
                MockAuthority::new(),
                MockAuthority::new().deny("mcp.a.pay", "no"),
                MockAuthority::new().hold("mcp.a.pay", "wait"),
                MockAuthority::new().allow("mcp.a.refund"),
            ] {
                let (answer, runs, _) = answer(authority, call);
                assert!(answer.refusal().is_some() && answer.is_error(), "{call}");
                assert_eq!(runs, 0, "{call}");
            }
        }
    }

    #[test]
    fn a_malformed_call_asks_nobody() {
        for call in [
            "",
            "null",
            r#"{"type":"function","name":"pay"}"#,
            r#"{"name":"pay","input":{"cents":7}}"#,
            r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":7,"cents":8}}"#,
            r#"{"type":"tool_use","id":"c1","name":"pay","name":"refund","input":{"cents":7}}"#,
            r#"{"type":"tool_use","id":"c1","name":"pay","input":"{\"cents\":7}"}"#,
            r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":7},"function":{"name":"x"}}"#,
            r#"{"type":"function","id":"c1","function":{"name":"pay","arguments":{"cents":7}}}"#,
            r#"{"type":"function","id":"c1","function":{"name":"pay","arguments":"{\"cents\":7,\"cents\":8}"}}"#,
            r#"{"type":"tool_use","id":"c1","name":"refund","input":{}}"#,
            r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":"seven"}}"#,
            r#"{"type":"tool_use","id":"c1","name":"pay","input":{}}"#,
        ] {
            let (answer, runs, authority) = answer(MockAuthority::new().allow("mcp.a.pay"), call);
            assert!(answer.refusal().is_some(), "{call}");
            assert_eq!((runs, authority.calls().len()), (0, 0), "{call}");
        }
    }
}
