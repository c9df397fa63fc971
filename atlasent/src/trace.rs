//! The `tracing` spans and events of requests and executions.
//!
//! They contain no secret, and text from outside is escaped, so a subscriber may write it as it is.
//!
//! The target is `atlasent`. A request is a span `protect` with its action and agent, and contains
//! one event for the outcome. An execution emits one closing event.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::iter;
use std::time::{Duration, Instant};

use tracing::{Level, Span, event, field};

use crate::Error;
use crate::permit::PermitRecord;
use crate::text::escape::escaped;
use crate::text::redact::Redacted;
use crate::wire::EvaluateRequest;

const TARGET: &str = "atlasent";

/// The span of one request, and the event for its outcome.
pub(crate) struct RequestSpan {
    span: Span,
    started: Instant,
}

impl RequestSpan {
    pub(crate) fn start(request: &EvaluateRequest) -> Self {
        Self {
            span: tracing::info_span!(
                target: TARGET,
                "protect",
                action = &*escaped(&request.action_type),
                agent = &*escaped(request.actor_id.as_str()),
                resource = shown(request.resource_id.as_deref()).as_deref(),
            ),
            started: Instant::now(),
        }
    }

    /// Returns the span to ask the authority in.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Emits the event of a permit.
    pub(crate) fn permitted(&self, record: &PermitRecord) {
        event!(
            target: TARGET,
            parent: &self.span,
            Level::INFO,
            decision = "allow",
            permit = %Redacted(&record.id),
            audit_hash = shown(record.audit_hash.as_deref()).as_deref(),
            duration_us = micros(self.started.elapsed()),
            "permitted"
        );
    }

    /// Emits the event of a refusal or of a missing answer.
    pub(crate) fn refused(&self, error: &Error) {
        match error {
            Error::Denied(denied) => event!(
                target: TARGET,
                parent: &self.span,
                Level::WARN,
                decision = denied.decision().as_str(),
                reason = &*escaped(denied.reason()),
                code = shown(denied.code()).as_deref(),
                evaluation_id = shown(denied.evaluation_id()).as_deref(),
                audit_hash = shown(denied.audit_hash()).as_deref(),
                duration_us = micros(self.started.elapsed()),
                "refused"
            ),
            other => event!(
                target: TARGET,
                parent: &self.span,
                Level::ERROR,
                error = %other,
                cause = cause(other).as_deref(),
                code = other.code().map(field::display),
                duration_us = micros(self.started.elapsed()),
                "no answer"
            ),
        }
    }
}

/// Emits the event of a held request that waits for approvers, in the span of the request.
pub(crate) fn waiting(escalation_id: &str, approval_url: Option<&str>, at_most: Duration) {
    event!(
        target: TARGET,
        Level::INFO,
        escalation_id = &*escaped(escalation_id),
        approval_url = shown(approval_url).as_deref(),
        at_most_s = at_most.as_secs(),
        "waiting for approval"
    );
}

/// Emits the closing event of an execution. `duration` is called only if a subscriber is
/// interested.
pub(crate) fn executed(
    record: &PermitRecord,
    outcome: &'static str,
    duration: impl Fn() -> Duration,
) {
    event!(
        target: TARGET,
        Level::INFO,
        action = &*escaped(&record.action),
        agent = &*escaped(record.agent.as_str()),
        permit = %Redacted(&record.id),
        audit_hash = shown(record.audit_hash.as_deref()).as_deref(),
        outcome,
        duration_us = micros(duration()),
        "executed"
    );
}

/// Emits the event of a receipt that did not reach its authority.
pub(crate) fn receipt_lost(permit_id: &str, why: &str) {
    event!(
        target: TARGET,
        Level::WARN,
        permit = %Redacted(permit_id),
        reason = &*escaped(why),
        "receipt not recorded"
    );
}

/// The errors that caused a mistake in the set-up. The message of a failed call has its causes.
fn cause(error: &Error) -> Option<String> {
    let Error::Config(config) = error else {
        return None;
    };
    let mut causes = iter::successors(config.source(), |cause| StdError::source(*cause));
    let mut text = escaped(&causes.next()?.to_string()).into_owned();
    for cause in causes {
        text.push_str(": ");
        text.push_str(&escaped(&cause.to_string()));
    }
    Some(text)
}

fn shown(text: Option<&str>) -> Option<Cow<'_, str>> {
    text.map(escaped)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
