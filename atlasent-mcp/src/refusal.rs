//! Why an operation did not run, in the forms that an agent reads: [`Refusal`].

use std::fmt;
use std::time::Duration;

use atlasent::error::{Code, Failure};
use atlasent::text::Escaped;
use atlasent::{Decision, Denied, Error};
use serde::Serialize;
use serde_json::{Value, json};

use crate::mapping::UnmappedResource;
use crate::operation::{Operation, OperationError, shown};

/// The JSON-RPC code of a refusal of a request that is no tool call.
pub const REFUSED: i64 = -32_050;
/// The codes as a refusal keeps them: small, since every result of a gate has room for a refusal.
/// The last two are those of messages that cannot be decided on (JSON-RPC 2.0, section 5.1).
const NOT_PERMITTED: i32 = -32_050;
const INVALID_PARAMS: i32 = -32_602;
const METHOD_NOT_FOUND: i32 = -32_601;

/// The maximum number of characters of a reason that an agent reads.
const MAX_REASON: usize = 500;

/// What a [`Refusal`] says about the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The operation is not allowed. Asking again changes nothing.
    Deny,
    /// The operation waits for a person. The same request, sent again, joins the waiting one.
    Hold,
    /// A person with more authority has to decide.
    Escalate,
    /// The authority could not decide. A later attempt may succeed.
    Unavailable,
    /// The message or its arguments are malformed. Corrected ones may be allowed.
    Invalid,
}

/// Why an operation did not run. It holds no secret, and nothing about the inside of the authority.
///
/// It serializes to the `structuredContent` of a tool result and to the `data` of a JSON-RPC error:
///
/// ```json
/// {"decision": "hold", "reason": "a person has to agree", "action": "mcp.bank.pay",
///  "escalation_id": "esc_4f", "approval_url": "https://…", "retry_after": 30}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    #[serde(rename = "decision")]
    verdict: Verdict,
    reason: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_scope: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_url: Option<Box<str>>,
    /// In seconds. Short, so that the refusal stays small in each `Result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip)]
    rpc_code: i32,
    #[serde(skip)]
    failure: Option<Box<FailureText>>,
}

/// The text of a failure, for the operator. `Debug` leaves it out, because a refusal is also
/// printed where an agent reads.
#[derive(Clone, PartialEq, Eq)]
struct FailureText(String);

impl fmt::Debug for FailureText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailureText(..)")
    }
}

impl Refusal {
    fn new(verdict: Verdict, code: &str, reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        let reason = Escaped::new(&reason).to_string();
        Self {
            verdict,
            reason: reason.chars().take(MAX_REASON).collect(),
            code: Some(code.into()),
            action: None,
            missing_scope: None,
            escalation_id: None,
            approval_url: None,
            retry_after: None,
            rpc_code: NOT_PERMITTED,
            failure: None,
        }
    }

    /// Creates a refusal by the rules of a gate itself, before anybody is asked. `reason` is read
    /// by the agent.
    #[must_use]
    pub fn deny(code: &str, reason: impl Into<String>) -> Self {
        Self::new(Verdict::Deny, code, reason)
    }

    /// Creates a refusal of arguments or a message that the sender can correct.
    #[must_use]
    pub fn invalid(code: &str, reason: impl Into<String>) -> Self {
        Self {
            rpc_code: INVALID_PARAMS,
            ..Self::new(Verdict::Invalid, code, reason)
        }
    }

    /// Creates the refusal of a call because the authority could not decide.
    #[must_use]
    pub fn unavailable(code: &str, reason: impl Into<String>) -> Self {
        Self::new(Verdict::Unavailable, code, reason)
    }

    /// Creates the refusal of an operation that no rule maps to an action.
    pub(crate) fn unmapped(operation: &Operation) -> Self {
        let method = shown(operation.method());
        let reason = match operation.target() {
            Some(target) => format!(
                "`{method}` of `{}` is not mapped to an action",
                shown(target)
            ),
            None => format!("the method `{method}` is not mapped to an action"),
        };
        Self {
            rpc_code: METHOD_NOT_FOUND,
            ..Self::new(Verdict::Deny, "NOT_MAPPED", reason)
        }
    }

    /// Creates the refusal of a call without the argument that names its resource.
    pub(crate) fn without_resource(missing: &UnmappedResource) -> Self {
        let argument = shown(&missing.argument);
        let reason = format!("the argument `{argument}` names the resource and has to be a string");
        Self::invalid("NO_RESOURCE", reason)
    }

    /// Creates the refusal of a token without a scope.
    #[cfg(feature = "ati")]
    pub(crate) fn missing_scope_of(scope: &str) -> Self {
        let scope = shown(scope);
        let reason = format!("the agent's token does not grant the scope `{scope}`");
        Self {
            missing_scope: Some(scope.into()),
            ..Self::deny("SCOPE_MISSING", reason)
        }
    }

    /// Creates the refusal for the end of a request for a permit. The text of a failure goes to the
    /// log and to [`failure`](Self::failure), and not to the agent.
    pub(crate) fn from_error(error: &Error, action: &str) -> Self {
        let refusal = match error {
            Error::Denied(denied) => Self::from_denied(denied),
            Error::Failed(failure) => {
                tracing::error!(target: "atlasent_mcp", action, %error, "the authority gave no usable answer");
                Self::from_failure(failure)
            }
            // The programmer's mistake, or a request that breaks a rule of the contract.
            other => {
                tracing::error!(target: "atlasent_mcp", action, error = %other, "the authority was not asked");
                Self::unavailable("NOT_ASKED", "the action cannot be decided on")
            }
        };
        let failure = match error {
            Error::Denied(_) => None,
            error => Some(Box::new(FailureText(error.to_string()))),
        };
        Self {
            action: Some(shown(action).into()),
            failure,
            ..refusal
        }
    }

    /// Creates the refusal for a call of the authority that got no usable answer. Failures that the
    /// same call would meet again are told apart, so that no agent repeats such a call for ever.
    fn from_failure(failure: &Failure) -> Self {
        match (failure.code(), failure.status()) {
            (Code::InvalidApiKey | Code::Forbidden, _) => Self::deny(
                "CLIENT_NOT_ACCEPTED",
                "the authority does not accept this client: tell its operator",
            ),
            (Code::BadRequest, Some(400 | 413 | 422)) => Self::invalid(
                "CALL_NOT_ACCEPTED",
                "the call is too large or breaks another limit of the authority",
            ),
            _ => Self {
                retry_after: failure.retry_after().map(whole_seconds),
                ..Self::unavailable(
                    "AUTHORITY_UNAVAILABLE",
                    "the action could not be decided on: ask again later",
                )
            },
        }
    }

    fn from_denied(denied: &Denied) -> Self {
        let verdict = match denied.decision() {
            Decision::Hold => Verdict::Hold,
            Decision::Escalate => Verdict::Escalate,
            Decision::Deny | Decision::Allow => Verdict::Deny,
        };
        let escaped = |text: &str| Escaped::new(text).to_string().into_boxed_str();
        Self {
            code: denied.code().map(escaped),
            missing_scope: denied.missing_scope().map(escaped),
            escalation_id: denied.escalation_id().map(escaped),
            approval_url: denied.approval_url().map(escaped),
            retry_after: denied.retry_after().map(whole_seconds),
            ..Self::new(verdict, "", denied.reason())
        }
    }

    /// Sets when to ask again, if that is known.
    #[cfg(feature = "ati")]
    #[must_use]
    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.map(whole_seconds);
        self
    }

    /// Returns what the refusal says about the operation.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the reason, on one line.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the code of the reason, for programs.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the id of the escalation that waits for a person.
    #[must_use]
    pub fn escalation_id(&self) -> Option<&str> {
        self.escalation_id.as_deref()
    }

    /// Returns the URL where a person can decide.
    #[must_use]
    pub fn approval_url(&self) -> Option<&str> {
        self.approval_url.as_deref()
    }

    /// Returns the ATI scope that the token lacks.
    #[must_use]
    pub fn missing_scope(&self) -> Option<&str> {
        self.missing_scope.as_deref()
    }

    /// Returns how long to wait before asking again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
            .map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Returns why the authority could not be asked or gave no usable answer, on one line and
    /// without secrets. It is for the operator: it can hold text of the authority, so it must not
    /// reach the agent.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref().map(|failure| failure.0.as_str())
    }

    /// Returns the code of the JSON-RPC error that [`rpc_error`](Self::rpc_error) makes.
    #[must_use]
    pub fn rpc_code(&self) -> i64 {
        self.rpc_code.into()
    }

    /// Returns the refusal as the JSON object that agents read.
    #[must_use]
    pub fn data(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Returns the refusal in words that a model can act on.
    #[must_use]
    pub fn advice(&self) -> String {
        let next = match (self.verdict, self.retry_after, &self.approval_url) {
            (Verdict::Deny, None, _) => "Do not send the same call again.".to_owned(),
            (Verdict::Invalid, ..) => "Correct the call and send it again.".to_owned(),
            (Verdict::Hold | Verdict::Escalate, _, Some(url)) => format!(
                "It waits for a person, who decides at {url}. Send the same call again to wait for \
                 the decision."
            ),
            (Verdict::Hold | Verdict::Escalate, None, None) => {
                "It waits for a person. Send the same call again to wait for the decision."
                    .to_owned()
            }
            (_, Some(seconds), _) => format!("Send the same call again in {seconds} s."),
            (Verdict::Unavailable, None, _) => "Send the same call again later.".to_owned(),
        };
        let verdict = match self.verdict {
            Verdict::Deny => "denied",
            Verdict::Hold => "on hold",
            Verdict::Escalate => "escalated",
            Verdict::Unavailable => "not decided",
            Verdict::Invalid => "invalid",
        };
        format!("{verdict}: {}. {next}", self.reason.trim_end_matches('.'))
    }

    /// Returns the `result` of a refused tool call: an error that the model reads.
    ///
    /// `has_output_schema` leaves `structuredContent` out: clients check it against the schema that
    /// the tool declares for its results, also in an error, and would hide the refusal. The second
    /// block of `content` has the same JSON in any case.
    #[must_use]
    pub fn tool_result(&self, has_output_schema: bool) -> Value {
        let data = self.data();
        let text = |text: String| json!({"type": "text", "text": text});
        let mut result = json!({
            "content": [text(self.advice()), text(data.to_string())],
            "isError": true,
        });
        if let (false, Some(result)) = (has_output_schema, result.as_object_mut()) {
            result.insert("structuredContent".to_owned(), data);
        }
        result
    }

    /// Returns the `error` of another refused request (JSON-RPC 2.0, section 5.1).
    #[must_use]
    pub fn rpc_error(&self) -> Value {
        json!({"code": self.rpc_code, "message": self.advice(), "data": self.data()})
    }
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        Self::invalid("MALFORMED", error.to_string())
    }
}

/// Returns a wait in whole seconds, rounded up.
fn whole_seconds(wait: Duration) -> u32 {
    let seconds = (wait.as_secs()).saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use atlasent::error::ConfigError;
    use atlasent::testing::MockAuthority;
    use atlasent::{AnyAction, AuthorityExt};

    use super::*;

    fn refused(authority: &MockAuthority) -> Refusal {
        let action = AnyAction::new("pay").unwrap();
        let asked = futures_executor::block_on(authority.protect("bot", action));
        Refusal::from_error(&asked.unwrap_err(), "pay")
    }

    #[test]
    fn a_model_reads_the_decision_the_reason_and_what_to_do() {
        let refusal = refused(&MockAuthority::new().hold("pay", "a person has to agree."));
        assert_eq!(
            refusal.advice(),
            "on hold: a person has to agree. It waits for a person. Send the same call again to wait for the decision."
        );
        let result = refusal.tool_result(false);
        assert_eq!(result["isError"], true);
        assert_eq!(result["structuredContent"]["decision"], "hold");
        assert_eq!(result["structuredContent"]["action"], "pay");
        let read: Value =
            serde_json::from_str(result["content"][1]["text"].as_str().unwrap()).unwrap();
        assert_eq!(read, result["structuredContent"]);
        assert_eq!(refusal.tool_result(true).get("structuredContent"), None);
        assert_eq!(refusal.rpc_error()["code"], REFUSED);
    }

    #[test]
    fn nothing_of_a_failure_reaches_the_agent() {
        let text = "10.0.0.7:5432 hunter2";
        let answered = |code, status| Failure::new(code, text).with_status(status);
        let failure =
            Failure::new(Code::Network, text).with_retry_after(Duration::from_millis(1_200));
        for (error, verdict) in [
            (Error::from(failure), Verdict::Unavailable),
            (
                ConfigError::new("hunter2 is no key").into(),
                Verdict::Unavailable,
            ),
            (Error::Invalid("hunter2".to_owned()), Verdict::Unavailable),
            (answered(Code::BadRequest, 413).into(), Verdict::Invalid),
            (answered(Code::InvalidApiKey, 401).into(), Verdict::Deny),
        ] {
            let refusal = Refusal::from_error(&error, "pay");
            assert_eq!(refusal.verdict(), verdict);
            assert_eq!(refusal.failure(), Some(&*error.to_string()));
            let all = format!(
                "{refusal:?} {} {}",
                refusal.tool_result(false),
                refusal.rpc_error()
            );
            assert!(
                !all.contains("hunter2") && !all.contains("10.0.0.7"),
                "{all}"
            );
        }
        let failure =
            Failure::new(Code::RateLimited, "").with_retry_after(Duration::from_millis(1_200));
        let refusal = Refusal::from_error(&failure.into(), "pay");
        assert_eq!(refusal.retry_after(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_call_that_always_fails_is_not_to_be_sent_again() {
        let refused = |code, status: u16| {
            let failure = Failure::new(code, "no").with_status(status);
            Refusal::from_error(&failure.into(), "pay")
        };
        for status in [400, 413, 422] {
            let refusal = refused(Code::BadRequest, status);
            assert_eq!(
                refusal.advice(),
                "invalid: the call is too large or breaks another limit of the authority. \
                 Correct the call and send it again.",
                "{status}"
            );
            assert_eq!(refusal.rpc_code(), i64::from(INVALID_PARAMS));
        }
        for (code, status) in [(Code::InvalidApiKey, 401), (Code::Forbidden, 403)] {
            assert_eq!(
                refused(code, status).advice(),
                "denied: the authority does not accept this client: tell its operator. \
                 Do not send the same call again.",
                "{status}"
            );
        }
        // These may end well another time: a conflict, too many requests, and a server that fails.
        for (code, status) in [
            (Code::BadRequest, 409),
            (Code::RateLimited, 429),
            (Code::ServerError, 503),
        ] {
            let refusal = refused(code, status);
            assert_eq!(refusal.verdict(), Verdict::Unavailable, "{status}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let reason = format!("no\nway\u{202e} {}", "x".repeat(10_000));
        let refusal = refused(&MockAuthority::new().deny("pay", &reason));
        assert!(!refusal.reason().contains(['\n', '\u{202e}']));
        assert!(refusal.advice().len() < 1_000);
    }
}
