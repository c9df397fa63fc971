//! The shapes in which models emit tool calls and read the answers.

use atlasent::Context;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::envelope::Envelope;
use crate::refusal::Refusal;

/// A tool call that a model emitted.
#[derive(Clone, Debug)]
pub(super) struct EmittedCall {
    shape: Shape,
    id: String,
    pub(super) name: String,
    /// The text of the arguments: of a string with JSON what it holds, else as it was written.
    pub(super) arguments: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `{"type": "function", "id", "function": {"name", "arguments": "<JSON>"}}`
    OpenAiChat,
    /// `{"type": "function_call", "call_id", "name", "arguments": "<JSON>"}`
    OpenAiResponse,
    /// `{"type": "tool_use", "id", "name", "input": {…}}`
    Anthropic,
}

impl Shape {
    /// Returns the shape with this `type`.
    fn from_type(text: &str) -> Option<Self> {
        match text {
            "function" => Some(Self::OpenAiChat),
            "function_call" => Some(Self::OpenAiResponse),
            "tool_use" => Some(Self::Anthropic),
            _ => None,
        }
    }

    /// Returns the name of the member that holds the id of the call. The `id` of a call in a
    /// response of OpenAI is that of the item.
    fn id_name(self) -> &'static str {
        match self {
            Self::OpenAiChat | Self::Anthropic => "id",
            Self::OpenAiResponse => "call_id",
        }
    }
}

/// The members of all shapes. Each shape allows some of them only.
#[derive(Deserialize)]
struct Members<'a> {
    r#type: String,
    id: Option<String>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

impl EmittedCall {
    /// Reads a call. Members that no shape has are ignored; those of another shape are an error.
    pub(super) fn parse(json: &str) -> Result<Self, Refusal> {
        let malformed = |why: &str| Refusal::invalid("MALFORMED", format!("the tool call {why}"));
        // A member that stands twice is an error at any depth.
        Context::parse(json).map_err(|_| malformed("is not a JSON object, or repeats a member"))?;
        let members: Members<'_> = serde_json::from_str(json)
            .map_err(|_| malformed("lacks a member, or has one of another type"))?;
        let other = || malformed("has members of two shapes, or lacks one");
        let (shape, id, name, arguments) = match members {
            Members {
                r#type,
                id: Some(id),
                call_id: None,
                name: None,
                arguments: None,
                input: None,
                function: Some(function),
            } if r#type == "function" => (Shape::OpenAiChat, id, function.name, function.arguments),
            Members {
                r#type,
                id: _,
                call_id: Some(id),
                name: Some(name),
                arguments: Some(arguments),
                input: None,
                function: None,
            } if r#type == "function_call" => (Shape::OpenAiResponse, id, name, arguments),
            Members {
                r#type,
                id: Some(id),
                call_id: None,
                name: Some(name),
                arguments: None,
                input: Some(input),
                function: None,
            } if r#type == "tool_use" => (Shape::Anthropic, id, name, input.get().to_owned()),
            _ => return Err(other()),
        };
        // Models write nothing at all for a call without arguments.
        let arguments = match (shape, &*arguments) {
            (Shape::OpenAiChat | Shape::OpenAiResponse, "") => "{}".to_owned(),
            _ => arguments,
        };
        Ok(Self {
            shape,
            id,
            name,
            arguments,
        })
    }

    /// Stands for a text that is no valid call, so that it can be answered in its shape and by its
    /// id. Without both, the answer is that of OpenAI's chat completions with an empty id.
    pub(super) fn unreadable(json: &str) -> Self {
        let envelope = Envelope::read(json);
        let shape = envelope.text("type").and_then(Shape::from_type);
        let answered = shape.and_then(|shape| Some((shape, envelope.text(shape.id_name())?)));
        let (shape, id) = answered.unwrap_or((Shape::OpenAiChat, ""));
        Self {
            shape,
            id: id.to_owned(),
            name: String::new(),
            arguments: String::new(),
        }
    }

    /// Returns the message that answers the call.
    pub(super) fn answer(&self, text: &str, is_error: bool) -> Value {
        let id = &self.id;
        match self.shape {
            Shape::OpenAiChat => json!({"role": "tool", "tool_call_id": id, "content": text}),
            Shape::OpenAiResponse => {
                json!({"type": "function_call_output", "call_id": id, "output": text})
            }
            Shape::Anthropic => json!({
                "type": "tool_result", "tool_use_id": id, "content": text, "is_error": is_error,
            }),
        }
    }
}
