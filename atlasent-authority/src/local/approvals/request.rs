//! Opening decisions by hand: a program asks people something that no policy holds. Such a decision
//! is an answer for the program, and releases nothing.

use std::time::Duration;

use atlasent::{Agent, Context};
use base16ct::lower;
use jiff::{SignedDuration, Timestamp};
use serde_json::Number;
use sha2::{Digest, Sha256};

use super::ApprovalError;
use super::settle::keep;
use super::shown::MAX_SHOWN;
use super::vote::check_note;
use crate::duration::whole_seconds;
use crate::ledger::approval::{ApprovalEntry, EscalationId, Question, ttl};
use crate::local::caller::Caller;
use crate::local::limits::StorageLimit;
use crate::local::{LocalAuthority, failed};
use crate::policy::ApprovalRule;
use crate::sealing::Sealing;
use crate::store::{CellKey, Changeset, Store};
use crate::trail::approval_events;

/// The maximum lengths of names in a proposed action, in characters (contract, part B).
const LONGEST_NAMES: [(&str, usize); 3] = [
    ("action_type", 256),
    ("resource_id", 512),
    ("environment", 256),
];

/// How often a decision can be escalated at most.
const MAX_ESCALATIONS: u32 = 8;

/// How long a decision may wait at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The action of a decision whose proposed action names none.
const UNNAMED: &str = "escalation";

/// A decision to be opened by hand.
///
/// ```
/// use atlasent::{Agent, Context};
/// use atlasent_authority::approvals::NewApproval;
/// use atlasent_authority::policy::{ApprovalRule, Approvers};
///
/// let mut rule = ApprovalRule::new("by hand");
/// rule.approvers = Approvers::parse("role:sre")?;
/// let wipe = Context::parse(r#"{"action_type": "wipe", "disk": "sda"}"#)?;
/// let new = NewApproval::new(Agent::new("bot")?, "it cannot be undone", wipe, rule);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewApproval {
    agent: Agent,
    reason: String,
    proposed: Context,
    rule: ApprovalRule,
    timeout_at: Option<Timestamp>,
    max_escalations: u32,
    risk_score: Option<Number>,
}

impl NewApproval {
    /// Asks for approvals of an action, which approvers see as it is given here. `rule` says who
    /// decides.
    pub fn new(
        agent: Agent,
        reason: impl Into<String>,
        proposed: Context,
        rule: ApprovalRule,
    ) -> Self {
        Self {
            agent,
            reason: reason.into(),
            proposed,
            rule,
            timeout_at: None,
            max_escalations: 0,
            risk_score: None,
        }
    }

    /// Sets how often the decision can be escalated, at most 8 times, to approvers that are named
    /// then. A second call replaces the first.
    pub fn max_escalations(mut self, times: u32) -> Self {
        self.max_escalations = times.min(MAX_ESCALATIONS);
        self
    }

    /// Sets a risk score for approvers to see. A second call replaces the first.
    pub fn risk_score(mut self, score: impl Into<Number>) -> Self {
        self.risk_score = Some(score.into());
        self
    }

    /// Sets when the decision expires, in place of the rule's time. It must be in the future, and
    /// within 30 days. After an escalation, the approvers have as long again. A second call
    /// replaces the first.
    pub fn timeout_at(mut self, time: Timestamp) -> Self {
        self.timeout_at = Some(time);
        self
    }

    /// Returns the decision, without its times and the event that opens it.
    fn into_row(
        self,
        caller: &Caller<'_>,
        sealing: &Sealing,
    ) -> Result<ApprovalEntry, ApprovalError> {
        check_note("escalation_reason", Some(&self.reason))?;
        let proposed = self.proposed.canonical_json();
        let action_hash = sha256(&proposed);
        let shown = caller.without_secret(proposed);
        if shown.len() > MAX_SHOWN {
            let length = shown.len();
            return Err(ApprovalError::Invalid(format!(
                "the proposed action has {length} bytes, and the limit is {MAX_SHOWN}: shorten it"
            )));
        }
        let shown_hash = sha256(&shown);
        let text = |name: &str| self.proposed.get(name).and_then(|value| value.as_str());
        for (name, most) in LONGEST_NAMES {
            let length = text(name).map_or(0, |text| text.chars().count());
            if length > most {
                return Err(ApprovalError::Invalid(format!(
                    "`proposed_action.{name}` has {length} characters, and the limit is {most}: \
                     shorten it"
                )));
            }
        }
        let attribution = caller.attribution();
        let question = Question {
            action: text("action_type").unwrap_or(UNNAMED).to_owned(),
            resource: text("resource_id").map(str::to_owned),
            environment: text("environment").map(str::to_owned),
            agent: self.agent,
            actors: Vec::new(),
            action_hash,
            key_environment: attribution.environment.as_deref().map(str::to_owned),
        };
        let timeout_at = self.timeout_at.unwrap_or(Timestamp::MAX);
        let mut row =
            ApprovalEntry::new(EscalationId::random(), question, Timestamp::MIN, timeout_at);
        row.reason = self.reason;
        row.rules.push(self.rule);
        row.free_steps = self.max_escalations;
        row.risk_score = self.risk_score;
        row.shown = sealing.seal(shown, row.id, &shown_hash)?;
        row.shown_hash = shown_hash;
        row.askers.extend(attribution.askers());
        Ok(row)
    }
}

/// Returns the SHA-256 of a text, in lower-case hex.
fn sha256(text: &str) -> String {
    lower::encode_string(&Sha256::digest(text))
}

impl<S: Store> LocalAuthority<S> {
    /// Opens a decision by hand. Approvers see and decide it like one that policies hold, and an
    /// approval of it releases nothing: only what the policies hold is released by an approval.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`], and no decision is opened. It is [`ApprovalError::Failed`] when the store
    /// holds too many events (its source is a [`StorageLimit`](crate::StorageLimit)).
    pub async fn request_approval(&self, new: NewApproval) -> Result<ApprovalEntry, ApprovalError> {
        self.request_approval_for(&Caller::embedded(&self.secret), new)
            .await
    }

    /// Opens a decision by hand, for a caller.
    pub(crate) async fn request_approval_for(
        &self,
        caller: &Caller<'_>,
        new: NewApproval,
    ) -> Result<ApprovalEntry, ApprovalError> {
        let mut row = new.into_row(caller, &self.sealing)?;
        // Those whose time is over do not count for the limits.
        self.expire_due_approvals().await?;
        let (attribution, limits) = (caller.attribution(), self.limits.get());
        let mut reads = row.id.cells().to_vec();
        reads.push(CellKey::Questions(row.agent_key()));
        let change = move |changeset: &mut Changeset<'_>| {
            let now = changeset.time();
            StorageLimit::check(changeset.held_events(), limits.max_events)
                .map_err(StorageLimit::into_failure)?;
            limits
                .check_approvals(row.question.agent.as_str(), row.agent_key(), changeset)
                .map_err(ApprovalError::Invalid)?;
            row.opened_at = now;
            let longest = now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
            if row.timeout_at == Timestamp::MAX {
                row.timeout_at = now.saturating_add(ttl(&row.rules)).unwrap_or(longest);
            }
            if row.timeout_at <= now || row.timeout_at > longest {
                let text = "`timeout_at` must be in the future, and within 30 days";
                return Err(ApprovalError::Invalid(text.to_owned()));
            }
            // A later step has as long as the first, in whole seconds, as rules hold it.
            let lasts = row.timeout_at.duration_since(now);
            let lasts = whole_seconds(lasts.try_into().unwrap_or_default());
            for rule in &mut row.rules {
                rule.ttl = Duration::from_secs(lasts);
            }
            let event = attribution.sign(approval_events::requested(&row));
            row.sequence = changeset.record(event).sequence;
            keep(row.clone(), changeset);
            Ok(row)
        };
        let row = self.commit(failed::APPROVAL, reads, change).await??;
        self.due.sooner(row.timeout_at);
        Ok(self.sealing.opened(row))
    }
}
