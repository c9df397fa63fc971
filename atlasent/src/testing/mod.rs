//! Scripted authorities, a default authority for one test, and time that does not pass, for tests
//! (feature `testing`).
//!
//! A [`MockAuthority`] answers what its script says and remembers what it was asked. It weakens
//! nothing: its answers go through the same checks as any other authority's. [`with_authority`]
//! makes one the default for a future.

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
use std::sync::{Mutex, PoisonError};

use crate::authority::{Issuer, IssuerId};
use crate::error::{Code, Failure};
use crate::permit::PermitRecord;
use crate::wire::{
    EvaluateRequest, Evaluation, PermitStatus, PermitToken, Verification, VerifyRequest,
};
use crate::{Action, Authority, Decision, Error, Permit, blocking};

pub use coverage::{Coverage, coverage};
pub(crate) use scope::scoped_authority;
pub use scope::{with_authority, with_authority_blocking};
#[cfg(feature = "client")]
pub use time::VirtualTime;

/// An authority that answers by script, action by action, and records its calls.
///
/// What is not scripted is denied.
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
#[derive(Debug, Default)]
pub struct MockAuthority {
    scripts: HashMap<String, Script>,
    calls: Mutex<Vec<Call>>,
    permits: AtomicU64,
    issuer: Issuer,
}

/// What is said of one action. Where nothing is said, a new permit is minted, and verifies.
#[derive(Debug, Default)]
struct Script {
    evaluate: Option<Reply<Evaluation>>,
    verify: Option<Reply<Verification>>,
    status: Option<Reply<PermitStatus>>,
}

/// One call that a [`MockAuthority`] received.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a test matches on it; a box would be in its way"
)]
pub enum Call {
    /// It was asked to decide.
    Evaluate(EvaluateRequest),
    /// It was asked to verify a permit.
    Verify(VerifyRequest),
}

/// What a [`MockAuthority`] does when it is called.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply<T> {
    /// It answers.
    Answer(T),
    /// It fails with this code.
    Fail(Code),
    /// It panics.
    Panic,
    /// It never answers.
    Never,
}

impl MockAuthority {
    /// An authority that denies everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows an action, each time with a new permit, and verifies it unless
    /// [`on_verify`](Self::on_verify) scripts that. Replaces what was scripted of the action's
    /// evaluation.
    #[must_use]
    pub fn allow(mut self, action: &str) -> Self {
        self.script(action).evaluate = None;
        self
    }

    /// Denies an action. Replaces what was scripted of its evaluation.
    #[must_use]
    pub fn deny(self, action: &str, reason: &str) -> Self {
        self.refuse(action, Decision::Deny, reason)
    }

    /// Puts an action on hold. Replaces what was scripted of its evaluation.
    #[must_use]
    pub fn hold(self, action: &str, reason: &str) -> Self {
        self.refuse(action, Decision::Hold, reason)
    }

    /// Escalates an action. Replaces what was scripted of its evaluation.
    #[must_use]
    pub fn escalate(self, action: &str, reason: &str) -> Self {
        self.refuse(action, Decision::Escalate, reason)
    }

    fn refuse(self, action: &str, decision: Decision, reason: &str) -> Self {
        self.on_evaluate(action, Reply::Answer(Evaluation::refuse(decision, reason)))
    }

    /// Scripts the evaluation of an action. Replaces what was scripted of its evaluation.
    #[must_use]
    pub fn on_evaluate(mut self, action: &str, reply: Reply<Evaluation>) -> Self {
        self.script(action).evaluate = Some(reply);
        self
    }

    /// Scripts the verification of an action's permits. Unless scripted, the evaluation allows. A
    /// second call for the action replaces the first.
    #[must_use]
    pub fn on_verify(mut self, action: &str, reply: Reply<Verification>) -> Self {
        self.script(action).verify = Some(reply);
        self
    }

    /// Scripts what an action's permits are found to be when they are looked up again, after their
    /// verification. Unless scripted, they are [`Consumed`](PermitStatus::Consumed), which is as it
    /// should be.
    #[must_use]
    pub fn on_permit_status(mut self, action: &str, reply: Reply<PermitStatus>) -> Self {
        self.script(action).status = Some(reply);
        self
    }

    fn script(&mut self, action: &str) -> &mut Script {
        self.scripts.entry(action.to_owned()).or_default()
    }

    /// The calls so far, in their order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls
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

    fn new_permit(&self) -> Result<Evaluation, Error> {
        let number = self.permits.fetch_add(1, Ordering::Relaxed);
        let token = PermitToken::new(format!("permit_mock_{number:08}"))?;
        Ok(Evaluation::allow(token))
    }
}

impl<T: Clone> Reply<T> {
    async fn give(&self) -> Result<T, Error> {
        match self {
            Self::Answer(answer) => Ok(answer.clone()),
            Self::Fail(code) => Err(Failure::new(*code, "scripted").into()),
            #[expect(
                clippy::panic,
                reason = "the script says so, and only a test has a script"
            )]
            Self::Panic => panic!("scripted"),
            Self::Never => pending().await,
        }
    }
}

impl Authority for MockAuthority {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.record(Call::Evaluate(request.clone()));
        match self.scripts.get(&request.action_type) {
            None => Ok(Evaluation::refuse(Decision::Deny, "not scripted")),
            Some(Script { evaluate: None, .. }) => self.new_permit(),
            Some(Script {
                evaluate: Some(reply),
                ..
            }) => reply.give().await,
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
            }) => reply.give().await?,
        };
        Ok(self.issuer.vouch(request, answer))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        match self.scripts.get(&permit.action) {
            None => Ok(PermitStatus::Revoked),
            Some(Script { status: None, .. }) => Ok(PermitStatus::Consumed),
            Some(Script {
                status: Some(reply),
                ..
            }) => reply.give().await,
        }
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id())
    }
}

/// A permit for unit tests of functions that take one. It comes from a [`MockAuthority`], by the
/// usual path.
///
/// It is that mock's permit and so opens no [`Guarded`](crate::Guarded), whatever features a build
/// has: a guarded value takes the permits of one authority. To test code that opens one, make the
/// value with [`Guarded::granted_by`](crate::Guarded::granted_by) a mock, or
/// [`configure`](crate::configure) a mock as the default of the test's process.
///
/// ```
/// # use atlasent::{Action, Permit};
/// #[derive(Action)]
/// #[action("drop_table")]
/// struct DropTable { table: String }
///
/// fn drop_table(permit: Permit<DropTable>) -> String {
///     format!("dropped {}", permit.table)
/// }
///
/// let permit = atlasent::testing::permit(DropTable { table: "old".into() })?;
/// assert_eq!(drop_table(permit), "dropped old");
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Invalid`] when the action's name or context breaks a rule.
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
