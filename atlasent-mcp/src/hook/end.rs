//! How a tool call ended, from the input of post-tool hooks.

use std::time::Duration;

use atlasent::Context;
use atlasent::receipts::DeferredReceipt;
use atlasent::wire::{Receipt, ReceiptOutcome, ResultHash};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::call::{malformed, read};
use crate::operation::shown;
use crate::refusal::Refusal;

/// Identifies one tool call in its pre-tool and post-tool hooks, by its session and its id in the
/// session.
///
/// Claude Code sends both. Codex and the hook `preToolUse` of Cursor send both in inputs with a
/// `tool_use_id`. Gemini CLI sends no id of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallId(ResultHash);

/// The members of an input that name the session and the call.
#[derive(Deserialize)]
struct Ids {
    session_id: Option<String>,
    /// The session, as Cursor calls it.
    conversation_id: Option<String>,
    tool_use_id: Option<String>,
}

impl CallId {
    /// Reads the id of the call of an input. Returns `None` if the input does not name both parts.
    pub(super) fn read(input: &str) -> Option<Self> {
        let ids: Ids = serde_json::from_str(input).ok()?;
        let session = ids.session_id.or(ids.conversation_id)?;
        let call = ids.tool_use_id?;
        // In a JSON array, two different pairs never have the same text.
        let text = json!([session, call]).to_string();
        (!session.is_empty() && !call.is_empty()).then(|| Self(ResultHash::of(text)))
    }

    /// Returns a key for files and maps: 64 hexadecimal digits that do not reveal the session.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.as_str()
    }
}

/// How a tool call ended.
///
/// ```
/// use atlasent_mcp::hook::{HookCall, HookEnd, HookFormat};
///
/// let call = r#"{"hook_event_name": "PreToolUse", "session_id": "s", "tool_use_id": "toolu_1",
///                "tool_name": "Bash", "tool_input": {"command": "ls"}}"#;
/// let call = HookCall::parse(HookFormat::ClaudeCode, call)?;
/// let end = r#"{"hook_event_name": "PostToolUse", "session_id": "s", "tool_use_id": "toolu_1",
///               "tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": {"stdout": "a"}}"#;
/// assert_eq!(call.id(), Some(HookEnd::parse(end)?.id()));
/// # Ok::<(), atlasent_mcp::Refusal>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEnd {
    id: CallId,
    outcome: ReceiptOutcome,
    result_hash: Option<ResultHash>,
}

/// The input of a hook after a tool.
#[derive(Deserialize)]
struct EndInput<'a> {
    hook_event_name: String,
    #[serde(borrow)]
    tool_response: Option<&'a RawValue>,
    /// The result, as Cursor calls it.
    #[serde(borrow)]
    tool_output: Option<&'a RawValue>,
}

impl HookEnd {
    /// Reads the input of a hook after a tool: `PostToolUse` and `PostToolUseFailure` of Claude
    /// Code and Codex, `postToolUse` and `postToolUseFailure` of Cursor.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the input is not a JSON object, repeats a member at any depth, is of another
    /// event, or does not name the session and the call.
    pub fn parse(input: &str) -> Result<Self, Refusal> {
        Context::parse(input)
            .map_err(|_| malformed("is not a JSON object, or repeats a member"))?;
        let end: EndInput<'_> = read(input)?;
        let outcome = match &*end.hook_event_name {
            "PostToolUse" | "postToolUse" => ReceiptOutcome::Completed,
            "PostToolUseFailure" | "postToolUseFailure" => ReceiptOutcome::Failed,
            event => {
                return Err(malformed(&format!(
                    "is for the event `{}`, which is not the end of a tool call",
                    shown(event)
                )));
            }
        };
        let id = CallId::read(input)
            .ok_or_else(|| malformed("does not name the session and the call"))?;
        let result = end.tool_response.or(end.tool_output);
        Ok(Self {
            id,
            outcome,
            result_hash: result.map(|result| ResultHash::of(result.get())),
        })
    }

    /// Returns the id of the call, which is that of its [`HookCall`](super::HookCall).
    #[must_use]
    pub fn id(&self) -> &CallId {
        &self.id
    }

    /// Returns the receipt of the call, with the hash of the result's JSON as the agent wrote it.
    #[must_use]
    pub fn receipt(&self, deferred: DeferredReceipt, duration: Duration) -> Receipt {
        let receipt = deferred.ended(self.outcome, duration);
        match &self.result_hash {
            Some(hash) => receipt.with_result_hash(hash.clone()),
            None => receipt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(event: &str, members: &str) -> Result<HookEnd, Refusal> {
        HookEnd::parse(&format!(
            r#"{{"hook_event_name":"{event}","tool_name":"Bash"{members}}}"#
        ))
    }

    #[test]
    fn an_end_names_its_call_its_outcome_and_the_hash_of_its_result() {
        let ids = r#","session_id":"s","tool_use_id":"t""#;
        let done = end(
            "PostToolUse",
            &format!(r#"{ids},"tool_response":{{"a": 1}}"#),
        )
        .unwrap();
        assert_eq!(done.outcome, ReceiptOutcome::Completed);
        assert_eq!(done.result_hash, Some(ResultHash::of(r#"{"a": 1}"#)));
        let failed = end("PostToolUseFailure", &format!(r#"{ids},"error":"no""#)).unwrap();
        assert_eq!(failed.outcome, ReceiptOutcome::Failed);
        assert_eq!(failed.result_hash, None);
        assert_eq!(failed.id, done.id);
        let cursor = r#","conversation_id":"s","tool_use_id":"t","tool_output":"x""#;
        let cursor = end("postToolUse", cursor).unwrap();
        assert_eq!(cursor.result_hash, Some(ResultHash::of(r#""x""#)));
        let other = end("PostToolUse", r#","session_id":"st","tool_use_id":"""#);
        assert!(other.is_err());
        let other = end("PostToolUse", r#","session_id":"s","tool_use_id":"u""#).unwrap();
        assert_ne!(other.id, done.id);
    }

    #[test]
    fn an_input_that_is_not_the_end_of_a_call_is_refused() {
        let ids = r#","session_id":"s","tool_use_id":"t""#;
        for (event, members) in [
            ("PreToolUse", ids),
            ("AfterTool", ids),
            ("PostToolUse", r#","session_id":"s""#),
            ("PostToolUse", r#","tool_use_id":"t""#),
            ("PostToolUse", r#","session_id":7,"tool_use_id":"t""#),
            (
                "PostToolUse",
                r#","session_id":"s","session_id":"t","tool_use_id":"t""#,
            ),
        ] {
            assert!(end(event, members).is_err(), "{event} {members}");
        }
    }
}
