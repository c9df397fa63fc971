//! Scripted authorities, a default authority for one test, and a clock for tests (feature
//! `testing`).
//!
//! A [`MockAuthority`] returns scripted answers and records its calls. Its answers go through the
//! same checks as those of any other authority. [`with_authority`] makes an authority the default
//! while one future runs.

mod approval;
mod coverage;
mod scope;
#[cfg(feature = "client")]
mod time;
#[cfg(feature = "client")]
#[doc(hidden)]
pub mod wire;

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::authority::{Issuer, IssuerId};
use crate::error::{Code, Failure};
use crate::permit::PermitRecord;
use crate::receipts::ReceiptQueue;
use crate::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, PermitToken, Receipt,
    Verification, VerifyRequest,
};
use crate::{Action, Authority, Decision, Error, Permit, blocking};

use approval::Escalations;
pub use approval::ScriptedApproval;
pub use coverage::{Coverage, coverage};
pub(crate) use scope::scoped_authority;
pub use scope::{with_authority, with_authority_blocking};
#[cfg(feature = "client")]
pub use time::VirtualTime;

/// An authority that returns scripted answers for each action, and records its calls.
///
/// Actions without a script are denied.
///
/// ```
/// use atlasent::testing::{Call, MockAuthority};
/// use atlasent::{AnyAction, blocking};
///
/// let authority = MockAuthority::new().allow("deploy").deny("drop", "never on a Friday");
/// assert!(blocking::protect(&authority, "bot", AnyAction::new("deploy")?).is_ok());
///
/// let error = blocking::protect(&authority, "bot", AnyAction::new("drop")?).unwrap_err();
/// assert_eq!(error.denied().unwrap().reason(), "never on a Friday");
///
/// let calls = authority.calls();
/// assert!(matches!(&calls[1], Call::Verify(request) if request.actor_id.as_ref().is_some_and(|agent| agent == "bot")));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Debug)]
pub struct MockAuthority {
    scripts: HashMap<String, Script>,
    calls: Mutex<Vec<Call>>,
    permits: AtomicU64,
    escalations: AtomicU64,
    issuer: Issuer,
    receipts: Arc<Mutex<Vec<Receipt>>>,
}

impl Default for MockAuthority {
    fn default() -> Self {
        let receipts: Arc<Mutex<Vec<Receipt>>> = Arc::default();
        let received = Arc::clone(&receipts);
        let queue = ReceiptQueue::at_once(move |receipt| {
            received
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(receipt);
            std::future::ready(Ok(()))
        });
        Self {
            scripts: HashMap::new(),
            calls: Mutex::default(),
            permits: AtomicU64::new(0),
            escalations: AtomicU64::new(0),
            issuer: Issuer::new().with_receipts(queue),
            receipts,
        }
    }
}

/// The scripted answers for one action. Without an answer for `evaluate` or `verify`, the action is
/// allowed with a new permit, and the permit is valid.
#[derive(Debug, Default)]
struct Script {
    evaluate: Option<Reply<Evaluation>>,
    approval: Option<Escalations>,
    verify: Option<Reply<Verification>>,
    status: Option<Reply<PermitStatus>>,
}

/// A call that a [`MockAuthority`] received.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "tests match on the variants, which a box would prevent"
)]
pub enum Call {
    /// A request for a decision.
    Evaluate(EvaluateRequest),
    /// A request to verify a permit.
    Verify(VerifyRequest),
    /// A wait for approvers.
    Wait {
        /// The id of the escalation.
        escalation_id: String,
        /// The longest time of the wait.
        at_most: Duration,
    },
}

/// The scripted reaction of a [`MockAuthority`] to a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply<T> {
    /// Returns this answer.
    Answer(T),
    /// Fails with this code.
    Fail(Code),
    /// Panics.
    Panic,
    /// Never returns.
    Never,
}

impl MockAuthority {
    /// Creates an authority that denies every action.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows an action, each time with a new permit. The permits are valid unless
    /// [`on_verify`](Self::on_verify) scripts their verification. Replaces the action's scripted
    /// evaluation.
    #[must_use]
    pub fn allow(mut self, action: &str) -> Self {
        let script = self.script(action);
        (script.evaluate, script.approval) = (None, None);
        self
    }

    /// Denies an action. Replaces its scripted evaluation.
    #[must_use]
    pub fn deny(self, action: &str, reason: &str) -> Self {
        self.refuse(action, Decision::Deny, reason)
    }

    /// Puts an action on hold. Replaces its scripted evaluation.
    #[must_use]
    pub fn hold(self, action: &str, reason: &str) -> Self {
        self.refuse(action, Decision::Hold, reason)
    }

    /// Escalates an action. Replaces its scripted evaluation.
    #[must_use]
    pub fn escalate(self, action: &str, reason: &str) -> Self {
        self.refuse(action, Decision::Escalate, reason)
    }

    /// Puts an action on hold until `approval` decides, and allows it once after each approval.
    /// Replaces its scripted evaluation.
    #[must_use]
    pub fn hold_for_approval(
        mut self,
        action: &str,
        reason: &str,
        approval: ScriptedApproval,
    ) -> Self {
        let script = self.script(action);
        (script.evaluate, script.approval) = (None, Some(Escalations::new(reason, approval)));
        self
    }

    fn refuse(self, action: &str, decision: Decision, reason: &str) -> Self {
        self.on_evaluate(action, Reply::Answer(Evaluation::refuse(decision, reason)))
    }

    /// Scripts the evaluation of an action. Replaces its scripted evaluation.
    #[must_use]
    pub fn on_evaluate(mut self, action: &str, reply: Reply<Evaluation>) -> Self {
        let script = self.script(action);
        (script.evaluate, script.approval) = (Some(reply), None);
        self
    }

    /// Scripts the verification of an action's permits. Without a scripted evaluation, the action
    /// is allowed. A second call for the same action replaces the first.
    #[must_use]
    pub fn on_verify(mut self, action: &str, reply: Reply<Verification>) -> Self {
        self.script(action).verify = Some(reply);
        self
    }

    /// Scripts the status of an action's permits after their verification, as `recheck` reads it.
    /// Without a script, the status is [`Consumed`](PermitStatus::Consumed), which `recheck`
    /// accepts. A second call for the same action replaces the first.
    #[must_use]
    pub fn on_permit_status(mut self, action: &str, reply: Reply<PermitStatus>) -> Self {
        self.script(action).status = Some(reply);
        self
    }

    fn script(&mut self, action: &str) -> &mut Script {
        self.scripts.entry(action.to_owned()).or_default()
    }

    /// Returns the calls so far, in their order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the receipts of bodies that ended so far, in their order.
    ///
    /// ```
    /// use atlasent::testing::MockAuthority;
    /// use atlasent::wire::ReceiptOutcome;
    /// use atlasent::{AnyAction, Error, blocking};
    ///
    /// let authority = MockAuthority::new().allow("deploy");
    /// let action = AnyAction::new("deploy")?;
    /// blocking::with_permit(&authority, "bot", action, |_| Ok::<_, Error>(()))?;
    /// assert_eq!(authority.receipts()[0].outcome, ReceiptOutcome::Completed);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        self.receipts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn record(&self, call: Call) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
    }

    fn new_escalation(&self) -> String {
        let number = self.escalations.fetch_add(1, Ordering::Relaxed);
        format!("esc_mock_{number:08}")
    }

    fn new_permit(&self) -> Result<Evaluation, Error> {
        let number = self.permits.fetch_add(1, Ordering::Relaxed);
        let token = PermitToken::new(format!("permit_mock_{number:08}"))?;
        Ok(Evaluation::allow(token))
    }
}

impl<T: Clone> Reply<T> {
    async fn produce(&self) -> Result<T, Error> {
        match self {
            Self::Answer(answer) => Ok(answer.clone()),
            Self::Fail(code) => Err(Failure::new(*code, "scripted").into()),
            #[expect(
                clippy::panic,
                reason = "the script requests a panic, and only tests have scripts"
            )]
            Self::Panic => panic!("scripted"),
            Self::Never => pending().await,
        }
    }
}

impl Authority for MockAuthority {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.record(Call::Evaluate(request.clone()));
        match self.scripts.get(&*request.action_type) {
            None => Ok(Evaluation::refuse(Decision::Deny, "not scripted")),
            Some(Script {
                evaluate: Some(reply),
                ..
            }) => reply.produce().await,
            Some(Script {
                approval: Some(approval),
                ..
            }) => match approval.hold(|| self.new_escalation()) {
                Some(hold) => Ok(hold),
                None => self.new_permit(),
            },
            Some(_) => self.new_permit(),
        }
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.record(Call::Verify(request.clone()));
        let action = request.action_type.as_deref().unwrap_or_default();
        let answer = match self.scripts.get(action) {
            None => Verification::refuse(None, "not scripted"),
            Some(Script { verify: None, .. }) => Verification::valid(),
            Some(Script {
                verify: Some(reply),
                ..
            }) => reply.produce().await?,
        };
        Ok(self.issuer.vouch(request, answer))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        match self.scripts.get(&*permit.action) {
            None => Ok(PermitStatus::Revoked),
            Some(Script { status: None, .. }) => Ok(PermitStatus::Consumed),
            Some(Script {
                status: Some(reply),
                ..
            }) => reply.produce().await,
        }
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.receipts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(receipt.clone());
        Ok(())
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        self.record(Call::Wait {
            escalation_id: escalation_id.to_owned(),
            at_most,
        });
        for approval in self
            .scripts
            .values()
            .filter_map(|script| script.approval.as_ref())
        {
            if let Some(end) = approval.wait(escalation_id).await {
                return end;
            }
        }
        Err(Failure::new(Code::BadRequest, "no such escalation").into())
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id())
    }
}

/// Returns a permit for unit tests of functions that take one. A new [`MockAuthority`] grants it,
/// with the usual checks.
///
/// The permit opens no [`Guarded`](crate::Guarded) of another authority, whatever features a build
/// has. To test code that opens a `Guarded`, create the value with
/// [`Guarded::granted_by`](crate::Guarded::granted_by) a mock, or [`configure`](crate::configure) a
/// mock as the default of the test's process.
///
/// ```
/// # use atlasent::{Action, Permit};
/// #[derive(Action)]
/// #[action("drop_table")]
/// struct DropTable { table: String }
///
/// fn drop_table(permit: Permit<DropTable>) -> String {
///     let DropTable { table } = permit.into_action(); // uses the permit up
///     format!("dropped {table}")
/// }
///
/// let permit = atlasent::testing::permit(DropTable { table: "old".into() })?;
/// assert_eq!(drop_table(permit), "dropped old");
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Invalid`] when the action's name or context is invalid.
pub fn permit<A: Action>(action: A) -> Result<Permit<A>, Error> {
    let authority = MockAuthority::new().allow(action.name());
    blocking::protect(&authority, "test-agent", action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AnyAction;

    #[test]
    fn a_verification_that_is_scripted_holds_whatever_is_scripted_after_it() {
        let refused = || Reply::Answer(Verification::refuse(None, "scripted"));
        let ask = |authority: &MockAuthority| {
            blocking::protect(authority, "bot", AnyAction::new("deploy").unwrap())
        };
        for authority in [
            MockAuthority::new()
                .on_verify("deploy", refused())
                .allow("deploy"),
            MockAuthority::new()
                .allow("deploy")
                .on_verify("deploy", refused()),
            MockAuthority::new()
                .deny("deploy", "no")
                .on_verify("deploy", refused())
                .allow("deploy"),
        ] {
            assert!(ask(&authority).unwrap_err().denied().is_some());
        }
        let authority = MockAuthority::new().deny("deploy", "no").allow("deploy");
        assert!(ask(&authority).is_ok());
        let authority = MockAuthority::new()
            .allow("deploy")
            .hold("deploy", "one")
            .deny("deploy", "two");
        assert_eq!(
            ask(&authority).unwrap_err().denied().unwrap().reason(),
            "two"
        );
    }
}
