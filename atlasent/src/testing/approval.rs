//! Scripted approvals of a [`MockAuthority`](super::MockAuthority).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Reply;
use crate::wire::{EscalationStatus, Evaluation};
use crate::{Decision, Error};

/// The scripted end of the escalations of a held action. A wait takes no time.
///
/// ```
/// use std::time::Duration;
/// use atlasent::testing::{MockAuthority, ScriptedApproval};
/// use atlasent::{AnyAction, AuthorityExt, blocking};
///
/// let approval = ScriptedApproval::approve().after_waits(1);
/// let authority = MockAuthority::new().hold_for_approval("deploy", "two people", approval);
/// let ask = || {
///     let ask = authority.ask("bot", AnyAction::new("deploy").unwrap());
///     blocking::wait(ask.wait(Duration::from_secs(60)).protect())
/// };
/// // The time of the first wait is over before anyone approves.
/// let refused = ask().unwrap_err();
/// assert_eq!(refused.denied().unwrap().escalation_id(), Some("esc_mock_00000000"));
/// assert!(ask().is_ok());
/// // An approval is for one permit. The next request waits for another one.
/// let refused = ask().unwrap_err();
/// assert_eq!(refused.denied().unwrap().escalation_id(), Some("esc_mock_00000001"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ScriptedApproval {
    end: Reply<EscalationStatus>,
    open_waits: u32,
}

impl ScriptedApproval {
    /// Creates a script by which each wait has this result.
    pub fn new(end: Reply<EscalationStatus>) -> Self {
        Self { end, open_waits: 0 }
    }

    /// Creates a script by which approvers approve.
    pub fn approve() -> Self {
        Self::new(Reply::Answer(EscalationStatus::Approved))
    }

    /// Creates a script by which an approver rejects.
    pub fn reject() -> Self {
        Self::new(Reply::Answer(EscalationStatus::Rejected))
    }

    /// Creates a script by which the escalation times out.
    pub fn time_out() -> Self {
        Self::new(Reply::Answer(EscalationStatus::TimedOut))
    }

    /// Creates a script by which no approver decides: the time of every wait is over first.
    pub fn pending() -> Self {
        Self::new(Reply::Answer(EscalationStatus::Pending))
    }

    /// Sets the number of waits on each escalation whose time is over before it ends. A second call
    /// replaces the first.
    pub fn after_waits(mut self, waits: u32) -> Self {
        self.open_waits = waits;
        self
    }
}

/// The escalations of one held action. One of them is open or approved at a time.
#[derive(Debug)]
pub(super) struct Escalations {
    reason: String,
    script: ScriptedApproval,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    /// The escalations that ended. A later wait for one finds its status.
    ended: HashMap<String, EscalationStatus>,
}

#[derive(Debug)]
struct Current {
    id: String,
    waits: u32,
    is_approved: bool,
}

/// What a wait finds.
enum Found {
    Ended(EscalationStatus),
    /// The time of the wait is over first.
    Open,
    /// The script says.
    Scripted,
}

impl Escalations {
    pub(super) fn new(reason: &str, script: ScriptedApproval) -> Self {
        Self {
            reason: reason.to_owned(),
            script,
            state: Mutex::default(),
        }
    }

    /// Returns the hold of a request. `None` if an approval releases it, which uses the approval.
    pub(super) fn hold(&self, new_id: impl FnOnce() -> String) -> Option<Evaluation> {
        let current = &mut self.state().current;
        if current.as_ref().is_some_and(|current| current.is_approved) {
            *current = None;
            return None;
        }
        let current = current.get_or_insert_with(|| Current {
            id: new_id(),
            waits: 0,
            is_approved: false,
        });
        let mut hold = Evaluation::refuse(Decision::Hold, &self.reason);
        hold.escalation_id = Some(current.id.clone());
        Some(hold)
    }

    /// Waits for an escalation. `None` if it is not one of these.
    pub(super) async fn wait(&self, id: &str) -> Option<Result<EscalationStatus, Error>> {
        match self.count_wait(id)? {
            Found::Ended(status) => return Some(Ok(status)),
            Found::Open => return Some(Ok(EscalationStatus::Pending)),
            Found::Scripted => {}
        }
        let end = self.script.end.produce().await;
        if let Ok(status) = &end {
            self.end(id, status);
        }
        Some(end)
    }

    fn count_wait(&self, id: &str) -> Option<Found> {
        let mut state = self.state();
        if let Some(status) = state.ended.get(id) {
            return Some(Found::Ended(status.clone()));
        }
        let current = state.current.as_mut().filter(|current| current.id == id)?;
        current.waits = current.waits.saturating_add(1);
        match current.waits <= self.script.open_waits {
            true => Some(Found::Open),
            false => Some(Found::Scripted),
        }
    }

    fn end(&self, id: &str, status: &EscalationStatus) {
        let mut state = self.state();
        let State { current, ended } = &mut *state;
        let Some(of_id) = current.as_mut().filter(|current| current.id == id) else {
            return;
        };
        if status.is_open() {
            return;
        }
        ended.insert(id.to_owned(), status.clone());
        match status.is_approved() {
            true => of_id.is_approved = true,
            false => *current = None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
