//! The coding agents whose hooks are known, and the words of each for a decision.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// A coding agent, whose hooks have a format of their own.
///
/// No answer asks the user of the agent to decide: a policy that holds a call names its approvers,
/// and the user need not be one. Codex and Cursor also run the tool where a hook asks for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HookFormat {
    /// Claude Code: the event `PreToolUse`.
    ClaudeCode,
    /// Codex: the event `PreToolUse`, with a `turn_id`.
    Codex,
    /// Cursor: the events `beforeShellExecution`, `beforeMCPExecution`, `beforeReadFile` and
    /// `preToolUse`.
    Cursor,
    /// Gemini CLI: the event `BeforeTool`.
    GeminiCli,
}

/// The members of an input that tell the formats apart.
#[derive(Deserialize)]
struct Marks {
    hook_event_name: String,
    turn_id: Option<IgnoredAny>,
}

impl HookFormat {
    /// Returns the format of an input, or `None` if it has no known format.
    #[must_use]
    pub fn detect(input: &str) -> Option<Self> {
        let marks: Marks = serde_json::from_str(input).ok()?;
        match &*marks.hook_event_name {
            "PreToolUse" if marks.turn_id.is_some() => Some(Self::Codex),
            "PreToolUse" => Some(Self::ClaudeCode),
            "BeforeTool" => Some(Self::GeminiCli),
            "beforeShellExecution" | "beforeMCPExecution" | "beforeReadFile" | "preToolUse" => {
                Some(Self::Cursor)
            }
            _ => None,
        }
    }

    /// Returns the name of the agent, as it is asked for in policies.
    #[must_use]
    pub fn agent(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::GeminiCli => "gemini-cli",
        }
    }

    /// Returns the text for standard output by which the tool runs, with the exit code 0. The agent
    /// does not ask its user any more, where its hooks can say so.
    #[must_use]
    pub fn allow(self) -> String {
        match self {
            Self::ClaudeCode => permission_decision("allow", "permitted by the policies"),
            // Codex takes no answer for an allow, and reports one as a failure of the hook.
            Self::Codex => return String::new(),
            Self::Cursor => json!({"permission": "allow"}),
            Self::GeminiCli => json!({"decision": "allow"}),
        }
        .to_string()
    }

    /// Returns the text for standard output by which the agent goes on as it would without a hook:
    /// it asks its user where its own settings say so.
    #[must_use]
    pub fn no_decision(self) -> String {
        match self {
            Self::Codex => String::new(),
            Self::ClaudeCode | Self::Cursor | Self::GeminiCli => "{}".to_owned(),
        }
    }

    /// Returns the text for standard output by which the tool does not run. Agents that read
    /// standard error for the exit code [`BLOCKED`](super::BLOCKED) find the same reason there.
    ///
    /// `failure` is the [failure](crate::Refusal::failure) of the refusal. Only Cursor has a text
    /// that its user reads and its model does not, so the others leave the failure out.
    #[must_use]
    pub fn deny(self, reason: &str, failure: Option<&str>) -> String {
        match self {
            Self::ClaudeCode | Self::Codex => permission_decision("deny", reason),
            Self::Cursor => {
                let failure = failure.map(|failure| format!(" ({failure})"));
                let shown_to_user = format!("{reason}{}", failure.unwrap_or_default());
                json!({"permission": "deny", "user_message": shown_to_user, "agent_message": reason})
            }
            Self::GeminiCli => json!({"decision": "deny", "reason": reason}),
        }
        .to_string()
    }
}

fn permission_decision(decision: &str, reason: &str) -> Value {
    json!({"hookSpecificOutput": {
        "hookEventName": "PreToolUse",
        "permissionDecision": decision,
        "permissionDecisionReason": reason,
    }})
}
