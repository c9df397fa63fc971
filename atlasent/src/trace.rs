//! What the path to a permit, and the execution under it, tell `tracing`. Never a secret, and no
//! text from outside that is not escaped: a subscriber may write it as it comes.
//!
//! Everything goes to the target `atlasent`. A request is a span `protect` with its action and
//! agent; inside it stands one event for the outcome. An execution closes with one event.

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

/// One request on its way to a permit or a refusal.
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

    /// The span that the authority is asked in.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The action may run.
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

    /// The action may not run.
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

/// The execution under a permit is over.
pub(crate) fn executed(record: &PermitRecord, outcome: &'static str, duration: Duration) {
    event!(
        target: TARGET,
        Level::INFO,
        action = &*escaped(&record.action),
        agent = &*escaped(record.agent.as_str()),
        permit = %Redacted(&record.id),
        audit_hash = shown(record.audit_hash.as_deref()).as_deref(),
        outcome,
        duration_us = micros(duration),
        "executed"
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
