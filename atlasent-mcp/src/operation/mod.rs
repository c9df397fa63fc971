//! What a message of the protocol asks for: [`Operation`], read from a method and its `params`.
//!
//! | method | kind | target | context |
//! |---|---|---|---|
//! | `tools/call` | [`Tool`](Kind::Tool) | the tool | `arguments` |
//! | `prompts/get` | [`Prompt`](Kind::Prompt) | the prompt | `arguments` |
//! | `resources/read`, `resources/directory/read`, `resources/subscribe`, `skills/get` | [`Resource`](Kind::Resource) | the `uri` | the params |
//! | `subscriptions/listen` with `resourceSubscriptions` | [`Other`](Kind::Other) | | the params |
//! | `tasks/get`, `tasks/result`, `tasks/update`, `tasks/cancel` | [`Task`](Kind::Task) | the `taskId` | the params |
//! | `completion/complete`, `logging/setLevel`, `tasks/list` | [`Other`](Kind::Other) | | the params |
//! | `sampling/createMessage`, `elicitation/create`, `roots/list` | [`Client`](Kind::Client) | | the params |
//! | `tools/list`, `resources/list`, `resources/templates/list`, `prompts/list`, `skills/list` | [`List`](Kind::List) | | |
//! | `initialize`, `ping`, `server/discover`, `resources/unsubscribe`, `subscriptions/listen`, the known notifications | [`Lifecycle`](Kind::Lifecycle) | | |
//! | every other method | [`Unknown`](Kind::Unknown) | | the params |
//!
//! "The params" are the members of `params`, without those that carry the protocol itself: `_meta`,
//! `cursor`, `inputResponses`, `requestState` and `task`. A `task` member changes how a result is
//! delivered and nothing about the call, so a call as a task is the same operation.

mod params;

use std::fmt;
use std::sync::Arc;

use atlasent::Context;
use atlasent::text::Escaped;
use serde_json::value::RawValue;

use params::Params;

/// The notifications of the protocol, in both directions.
const NOTIFICATIONS: [&str; 14] = [
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/elicitation/response",
    "notifications/initialized",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks",
    "notifications/tasks/status",
    "notifications/tools/list_changed",
];

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
}

impl Operation {
    /// Reads a request or a notification, in either direction.
    ///
    /// Absent `params`, and absent or `null` `arguments`, are an empty object.
    ///
    /// # Errors
    ///
    /// [`OperationError`] if `params` are no object, repeat a member at any depth, lack what the
    /// method needs or hold it with another type, or if those of `tools/call` or `prompts/get` have
    /// a member that the protocol does not know: a server could read it, and no policy saw it.
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
            notification if NOTIFICATIONS.contains(&notification) => Kind::Lifecycle,
            _ => Kind::Unknown,
        };
        params.with_context(kind, None)
    }

    /// Creates the call of a tool, for calls that do not arrive as a message of the protocol.
    ///
    /// # Errors
    ///
    /// [`OperationError`] if the name is empty, or the arguments are not the text of a JSON object
    /// without repeated members.
    pub fn tool(name: &str, arguments: &str) -> Result<Self, OperationError> {
        let error = |what: String| OperationError::new("tools/call", what);
        if name.is_empty() {
            return Err(error("its `name` is empty".to_owned()));
        }
        let context = Context::parse(arguments)
            .map_err(|why| error(format!("its arguments cannot be read: {}", cause(&why))))?;
        Ok(Self {
            kind: Kind::Tool,
            method: "tools/call".into(),
            target: Some(name.into()),
            arguments: arguments.into(),
            context,
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

    /// Returns the text of the JSON object that is decided on, as it was written: the arguments of
    /// a tool or a prompt, and the members of `params` for all other methods.
    #[must_use]
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// Returns the context that an authority decides on: [`arguments`](Self::arguments), with the
    /// text of each number.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
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
mod tests {
    use super::*;

    fn parse(method: &str, params: &str) -> Result<Operation, OperationError> {
        let params: &RawValue = serde_json::from_str(params).unwrap();
        Operation::parse(method, Some(params))
    }

    fn why(method: &str, params: &str) -> String {
        parse(method, params).unwrap_err().to_string()
    }

    #[test]
    fn a_call_of_a_tool_keeps_the_text_of_its_arguments() {
        for (params, arguments) in [
            (r#"{"name":"t"}"#, "{}"),
            (r#"{"name":"t","arguments":null}"#, "{}"),
            (
                r#"{"arguments": { "a": 1.50, "b":[1e2] } ,"name":"t","_meta":{"progressToken":1}}"#,
                r#"{ "a": 1.50, "b":[1e2] }"#,
            ),
            (
                r#"{"\u006eame":"t","arguments":{"\u0061":1},"task":{"ttl":1}}"#,
                r#"{"\u0061":1}"#,
            ),
        ] {
            let operation = parse("tools/call", params).unwrap();
            assert_eq!(operation.kind(), Kind::Tool, "{params}");
            assert_eq!(operation.target(), Some("t"), "{params}");
            assert_eq!(operation.arguments(), arguments);
            assert_eq!(operation.context(), &Context::parse(arguments).unwrap());
        }
    }

    #[test]
    fn a_member_that_could_be_read_in_two_ways_is_refused() {
        for (params, expected) in [
            (r#"{"name":"a","name":"b"}"#, "the key `name` is repeated"),
            (
                r#"{"name":"a","n\u0061me":"b"}"#,
                "the key `name` is repeated",
            ),
            (
                r#"{"name":"a","arguments":{"x":[{"y":1,"y":2}]}}"#,
                "the key `y` is repeated",
            ),
            (
                r#"{"name":"a","_meta":{"x":1,"x":2}}"#,
                "the key `x` is repeated",
            ),
            (
                r#"{"name":"a","Arguments":{}}"#,
                "an unknown member `Arguments`",
            ),
            (r#"{"name":"a","args":{}}"#, "an unknown member `args`"),
            (r#"{"name":"a","cursor":"1"}"#, "an unknown member `cursor`"),
            (r#"{"name":""}"#, "`name` is not a string with characters"),
            (r#"{"name":7}"#, "`name` is not a string"),
            (r#"{"name":["a"]}"#, "`name` is not a string"),
            (r#"{"arguments":{}}"#, "have no `name`"),
            (
                r#"{"name":"a","arguments":[]}"#,
                "`arguments` are not an object",
            ),
            (
                r#"{"name":"a","arguments":"{}"}"#,
                "`arguments` are not an object",
            ),
            (r#"["a",{}]"#, "`params` are not an object"),
            ("null", "`params` are not an object"),
        ] {
            let why = why("tools/call", params);
            assert!(why.contains(expected), "{params}: {why}");
        }
    }

    #[test]
    fn every_method_has_its_kind_and_target() {
        for (method, params, kind, target) in [
            ("prompts/get", r#"{"name":"p"}"#, Kind::Prompt, Some("p")),
            (
                "resources/read",
                r#"{"uri":"file:///a"}"#,
                Kind::Resource,
                Some("file:///a"),
            ),
            (
                "resources/subscribe",
                r#"{"uri":"u"}"#,
                Kind::Resource,
                Some("u"),
            ),
            (
                "resources/directory/read",
                r#"{"uri":"u"}"#,
                Kind::Resource,
                Some("u"),
            ),
            ("skills/get", r#"{"uri":"u"}"#, Kind::Resource, Some("u")),
            ("tasks/get", r#"{"taskId":"1"}"#, Kind::Task, Some("1")),
            ("tasks/result", r#"{"taskId":"1"}"#, Kind::Task, Some("1")),
            ("tasks/cancel", r#"{"taskId":"1"}"#, Kind::Task, Some("1")),
            (
                "tasks/update",
                r#"{"taskId":"1","inputResponses":{}}"#,
                Kind::Task,
                Some("1"),
            ),
            ("tasks/list", "{}", Kind::Other, None),
            (
                "logging/setLevel",
                r#"{"level":"debug"}"#,
                Kind::Other,
                None,
            ),
            ("sampling/createMessage", "{}", Kind::Client, None),
            ("elicitation/create", "{}", Kind::Client, None),
            ("roots/list", "{}", Kind::Client, None),
            ("tools/list", r#"{"cursor":"x"}"#, Kind::List, None),
            ("initialize", "{}", Kind::Lifecycle, None),
            ("notifications/cancelled", "{}", Kind::Lifecycle, None),
            (
                "subscriptions/listen",
                r#"{"notifications":{"toolsListChanged":true}}"#,
                Kind::Lifecycle,
                None,
            ),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":[]}}"#,
                Kind::Lifecycle,
                None,
            ),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":["u"]}}"#,
                Kind::Other,
                None,
            ),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":{"u":1}}}"#,
                Kind::Other,
                None,
            ),
            ("Tools/Call", "{}", Kind::Unknown, None),
            ("tools/call ", "{}", Kind::Unknown, None),
            ("notifications/run", "{}", Kind::Unknown, None),
            ("", "{}", Kind::Unknown, None),
        ] {
            let operation = parse(method, params).unwrap();
            assert_eq!(
                (operation.kind(), operation.target()),
                (kind, target),
                "{method}"
            );
        }
        assert!(Operation::parse("ping", None).unwrap().is_open());
        assert!(Operation::parse("tools/call", None).is_err());
    }

    #[test]
    fn all_params_but_those_of_the_protocol_are_decided_on() {
        let params =
            r#"{"uri":"u","_meta":{"a":1},"requestState":"s","other" : 1.0,"inputResponses":{}}"#;
        let operation = parse("resources/read", params).unwrap();
        assert_eq!(operation.arguments(), r#"{"uri":"u","other":1.0}"#);
        let operation = parse("acme/deploy", r#"{"to":"\u0070rod"}"#).unwrap();
        assert_eq!(operation.arguments(), r#"{"to":"\u0070rod"}"#);
    }

    #[test]
    fn a_target_of_another_type_is_refused() {
        for method in ["resources/read", "resources/subscribe", "skills/get"] {
            for params in ["{}", r#"{"uri":null}"#, r#"{"uri":["a"]}"#, r#"{"uri":""}"#] {
                assert!(parse(method, params).is_err(), "{method} {params}");
            }
        }
        assert!(parse("tasks/get", r#"{"taskId":1}"#).is_err());
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_value() {
        let operation = parse(
            "tools/call",
            r#"{"name":"t","arguments":{"pin":"hunter2"}}"#,
        );
        assert!(!format!("{operation:?}").contains("hunter2"));
        let error = why("tools/call", r#"{"name":"t","arguments":["hunter2"]}"#);
        assert!(!error.contains("hunter2"), "{error}");
        let long = "x".repeat(10_000);
        let error = why("tools/call", &format!(r#"{{"name":"t","{long}":1}}"#));
        assert!(error.len() < 300);
    }

    proptest::proptest! {
        #[test]
        fn what_is_decided_on_is_what_a_reader_of_the_text_reads(
            arguments in "\\{\"a\":[\\[\\]{},:\"ab0-9. e\\\\u-]{0,24}\\}"
        ) {
            let text = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
            let Ok(params) = serde_json::from_str::<&RawValue>(&text) else { return Ok(()) };
            if let Ok(operation) = Operation::parse("tools/call", Some(params)) {
                proptest::prop_assert_eq!(operation.arguments(), arguments.trim());
                // A number that is too large for a float is read by few.
                if let Ok(read) = serde_json::from_str::<serde_json::Value>(&arguments) {
                    let decided_on = operation.context().as_object();
                    proptest::prop_assert_eq!(Some(decided_on), read.as_object());
                }
            }
        }
    }
}
