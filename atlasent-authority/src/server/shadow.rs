//! Shadow policies: a candidate set that decides each evaluation too, for its differences to be
//! counted and logged. It answers no request, issues no permit and records no event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::{io, thread};

use atlasent::Decision;
use atlasent::text::Escaped;
use atlasent::wire::{EvaluateRequest, Evaluation};

use super::app::App;
use super::log_limit::OUTAGES;
use crate::policy::{Policies, Verdict, fields};
use crate::store::Store;

/// How many decisions wait for the shadow policies at a time.
const MAX_WAITING: usize = 1_024;

/// How many bytes the requests that wait may have together, as they were sent.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// How many policies a log line names for each set.
const MAX_NAMED: usize = 8;

/// The shadow policies of a server, and the queue in front of them.
pub(super) struct Shadow {
    candidate: RwLock<Option<Arc<Policies>>>,
    /// Unset until the server runs.
    queue: OnceLock<SyncSender<Box<ShadowJob>>>,
    waiting_bytes: AtomicUsize,
}

/// A decision that the shadow policies decide again.
struct ShadowJob {
    request: EvaluateRequest,
    decision: Decision,
    code: Option<String>,
    /// The policies that were in force when the request was answered.
    policies: Arc<Policies>,
    candidate: Arc<Policies>,
    bytes: usize,
}

/// How the decision of the shadow policies compares with the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShadowOutcome {
    Same,
    Stricter,
    Looser,
    /// The same decision by other policies, or with another code.
    Different,
    /// The shadow policies did not decide: the queue was full, or the evaluation panicked.
    Dropped,
}

impl ShadowOutcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Stricter => "stricter",
            Self::Looser => "looser",
            Self::Different => "different",
            Self::Dropped => "dropped",
        }
    }
}

impl Shadow {
    /// Creates shadow policies that are not read yet.
    pub(super) fn new() -> Self {
        Self {
            candidate: RwLock::new(None),
            queue: OnceLock::new(),
            waiting_bytes: AtomicUsize::new(0),
        }
    }

    /// Returns the candidate, or `None` until one is read.
    pub(super) fn candidate(&self) -> Option<Arc<Policies>> {
        let candidate = self.candidate.read();
        candidate.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the candidate.
    pub(super) fn replace(&self, policies: Arc<Policies>) {
        let mut candidate = (self.candidate.write()).unwrap_or_else(PoisonError::into_inner);
        *candidate = Some(policies);
    }

    /// Adds a decision to the queue, unless the queue is full.
    fn enqueue(&self, job: Box<ShadowJob>) -> Result<(), Box<ShadowJob>> {
        let Some(queue) = self.queue.get() else {
            return Err(job);
        };
        let bytes = job.bytes;
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = match waiting.saturating_add(bytes) > MAX_WAITING_BYTES {
            true => Err(job),
            false => queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }),
        };
        if sent.is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }
}

impl<S: Store> App<S> {
    /// Lets the shadow policies decide an answered request later, on their own thread. `bytes` is
    /// the length of the request as it was sent.
    pub(super) fn shadow(&self, request: EvaluateRequest, answer: &Evaluation, bytes: usize) {
        let Some(shadow) = &self.shadow else {
            return;
        };
        let Some(candidate) = shadow.candidate() else {
            return;
        };
        let job = Box::new(ShadowJob {
            request,
            decision: answer.decision,
            code: answer.code.clone(),
            policies: self.local().authority.policies(),
            candidate,
            bytes,
        });
        // The policies were replaced after they decided, so their verdict cannot be repeated.
        let is_replaced = answer.policy_version.as_deref() != Some(job.policies.digest());
        let sent = match is_replaced {
            true => Err(job),
            false => shadow.enqueue(job),
        };
        if let Err(job) = sent {
            self.count_shadow(&job, ShadowOutcome::Dropped);
        }
    }

    /// Decides a request by both sets, and counts and logs how they compare.
    fn run_shadow(&self, job: &ShadowJob) {
        let compared = without_panic(|| job.compare());
        let Some(compared) = compared else {
            if let Some(suppressed) = OUTAGES.allow(PANICKED) {
                tracing::error!(target: "atlasent::shadow", suppressed, "{PANICKED}");
            }
            self.count_shadow(job, ShadowOutcome::Dropped);
            return;
        };
        let Some(compared) = compared else {
            return;
        };
        self.count_shadow(job, compared.outcome);
        if compared.outcome != ShadowOutcome::Same {
            job.log(&compared);
        }
    }

    fn count_shadow(&self, job: &ShadowJob, outcome: ShadowOutcome) {
        let action = &job.request.action_type;
        // The candidate adds no series: the real policies alone choose them.
        let is_named = job.policies.names_action(action);
        self.metrics.count_shadow(action, is_named, outcome);
    }
}

/// The message of a difference, and the kind of its log limit.
const DIFFERENCE: &str = "the shadow policies decide differently";

/// The message of a panic, and the kind of its log limit.
const PANICKED: &str = "the shadow policies panicked; the answer is not affected";

/// The verdicts of both sets on one request.
struct Compared {
    real: Verdict,
    shadow: Verdict,
    outcome: ShadowOutcome,
}

impl ShadowJob {
    /// Decides by both sets. Returns `None` for an answer that did not come from the real policies,
    /// such as the denial of a stop.
    fn compare(&self) -> Option<Compared> {
        let input = fields::policy_input(&self.request).ok()?;
        let real = self.policies.decide_unlogged(input);
        let is_by_policies = real.decision == self.decision
            && (real.decision.is_allow() || real.code.as_deref() == self.code.as_deref());
        if !is_by_policies {
            return None;
        }
        let shadow = self.candidate.decide_unlogged(input);
        let outcome = outcome(&real, &shadow);
        Some(Compared {
            real,
            shadow,
            outcome,
        })
    }

    /// Logs a difference, within the log limit. The line has no value of the context.
    fn log(&self, compared: &Compared) {
        let Some(suppressed) = OUTAGES.allow(DIFFERENCE) else {
            return;
        };
        let Compared {
            real,
            shadow,
            outcome,
        } = compared;
        tracing::info!(
            target: "atlasent::shadow",
            outcome = outcome.as_str(),
            agent = %Escaped::new(self.request.actor_id.as_str()),
            action = %Escaped::new(&self.request.action_type),
            decision = real.decision.as_str(),
            policies = %Escaped::new(&named(real)),
            shadow_decision = shadow.decision.as_str(),
            shadow_policies = %Escaped::new(&named(shadow)),
            shadow_code = %Escaped::new(shadow.code.as_deref().unwrap_or_default()),
            suppressed,
            "{DIFFERENCE}"
        );
    }
}

fn outcome(real: &Verdict, shadow: &Verdict) -> ShadowOutcome {
    match shadow.strength().cmp(&real.strength()) {
        std::cmp::Ordering::Less => ShadowOutcome::Looser,
        std::cmp::Ordering::Greater => ShadowOutcome::Stricter,
        std::cmp::Ordering::Equal
            if real.code != shadow.code || real.determining != shadow.determining =>
        {
            ShadowOutcome::Different
        }
        std::cmp::Ordering::Equal => ShadowOutcome::Same,
    }
}

/// Returns the ids of the policies that made a decision, up to a limit.
fn named(verdict: &Verdict) -> String {
    let named = verdict.determining.iter().take(MAX_NAMED);
    let mut ids: Vec<String> = named.map(ToString::to_string).collect();
    match verdict.determining.len().saturating_sub(MAX_NAMED) {
        0 => {}
        more => ids.push(format!("and {more} more")),
    }
    ids.join(", ")
}

/// Runs an evaluation of the shadow policies. Returns `None` if it panics.
fn without_panic<T>(evaluate: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(evaluate)).ok()
}

/// Starts the thread on which the shadow policies decide. It ends when the server is dropped.
///
/// # Errors
///
/// When the thread cannot be started.
pub(super) fn start<S: Store>(app: &Arc<App<S>>) -> io::Result<()> {
    let Some(shadow) = &app.shadow else {
        return Ok(());
    };
    let (sender, receiver) = sync_channel(MAX_WAITING);
    // A server runs once, so the queue is unset.
    if shadow.queue.set(sender).is_ok() {
        // The thread must not keep the sender alive, whose end it waits for.
        let app = Arc::downgrade(app);
        thread::Builder::new()
            .name("atlasent-shadow".to_owned())
            .spawn(move || run(&app, &receiver))?;
    }
    Ok(())
}

fn run<S: Store>(app: &Weak<App<S>>, receiver: &Receiver<Box<ShadowJob>>) {
    while let Ok(job) = receiver.recv() {
        let Some(app) = app.upgrade() else {
            return;
        };
        app.run_shadow(&job);
        if let Some(shadow) = &app.shadow {
            shadow.waiting_bytes.fetch_sub(job.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use atlasent::{Agent, AnyAction};

    use super::*;

    fn job(policies: &str, candidate: &str, bytes: usize) -> Box<ShadowJob> {
        let parse = |text: &str| Arc::new(Policies::parse(text).unwrap());
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let explained = parse(policies).explain(&request);
        Box::new(ShadowJob {
            request,
            decision: explained.decision,
            code: explained.code,
            policies: parse(policies),
            candidate: parse(candidate),
            bytes,
        })
    }

    const ALLOW: &str = r#"@id("a") permit (principal, action, resource);"#;
    const ALLOW_BY_ANOTHER: &str = r#"@id("b") permit (principal, action, resource);"#;
    const HOLD: &str = r#"@id("h") @decision("hold") forbid (principal, action, resource);"#;
    const DENY: &str = r#"@id("d") @code("NO") forbid (principal, action, resource);"#;
    const DENY_BY_ANOTHER_CODE: &str =
        r#"@id("d") @code("NEVER") forbid (principal, action, resource);"#;
    const ERRS: &str =
        r#"@id("e") permit (principal, action, resource) when { context.missing == 1 };"#;

    #[test]
    fn a_decision_is_compared_by_its_strength_then_by_its_policies_and_code() {
        use ShadowOutcome::{Different, Looser, Same, Stricter};
        for (real, candidate, expected) in [
            (ALLOW, ALLOW, Same),
            (ALLOW, ALLOW_BY_ANOTHER, Different),
            (ALLOW, HOLD, Stricter),
            (HOLD, DENY, Stricter),
            (DENY, HOLD, Looser),
            (DENY, ALLOW, Looser),
            (DENY, DENY_BY_ANOTHER_CODE, Different),
            (ALLOW, ERRS, Stricter),
            (ERRS, ALLOW, Looser),
        ] {
            let compared = job(real, candidate, 0).compare().unwrap();
            assert_eq!(compared.outcome, expected, "{real} and {candidate}");
        }
    }

    #[test]
    fn an_answer_that_is_not_by_the_policies_is_not_compared() {
        let mut stopped = job(ALLOW, DENY, 0);
        (stopped.decision, stopped.code) = (Decision::Deny, Some("STOPPED".to_owned()));
        assert!(stopped.compare().is_none());
    }

    #[test]
    fn the_queue_is_bounded_in_length_and_in_bytes() {
        let shadow = Shadow::new();
        assert!(shadow.enqueue(job(ALLOW, DENY, 0)).is_err(), "not started");
        let (sender, _receiver) = sync_channel(2);
        shadow.queue.set(sender).unwrap();
        assert!(shadow.enqueue(job(ALLOW, DENY, MAX_WAITING_BYTES)).is_ok());
        assert!(
            shadow.enqueue(job(ALLOW, DENY, 1)).is_err(),
            "too many bytes"
        );
        assert!(shadow.enqueue(job(ALLOW, DENY, 0)).is_ok());
        assert!(shadow.enqueue(job(ALLOW, DENY, 0)).is_err(), "too many");
        let waiting = shadow.waiting_bytes.load(Ordering::Relaxed);
        assert_eq!(waiting, MAX_WAITING_BYTES, "a dropped job takes no room");
    }

    #[test]
    fn a_panic_ends_in_no_outcome() {
        assert_eq!(without_panic(|| 1), Some(1));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let panicked = without_panic(|| panic!("by the test"));
        std::panic::set_hook(hook);
        assert_eq!(panicked, None::<()>);
    }
}
