//! Releases: what an approved decision lets through.
//!
//! A decision for one call releases the question that it was opened for. One for any context also
//! releases other questions of the agent about the same action and resource, as far as its
//! approvers decided on them: two policies hold `pay`, `large` above 100 and `huge` above 10,000.
//!
//! ```text
//! bot asks to pay 500         held by large          a teller grants it for any context
//! bot asks to pay 700         held by large          released: the teller decided on `large`
//! bot asks to pay 50,000      held by large, huge    held: the teller did not decide on `huge`
//! ```

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::entry::{ApprovalEntry, ApprovalState, Asker};
use super::vote::asked;
use super::{GrantedUse, Question};
use crate::policy::ApprovalRule;

/// What an approved decision releases: a number of permits, until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Until when.
    pub until: Timestamp,
    /// How many permits are left.
    pub uses_left: u32,
    /// Whether the context may differ from that of the question.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_context: bool,
}

/// A question that policies hold now, and what they ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldQuestion<'a> {
    /// What is asked.
    pub(crate) question: &'a Question,
    /// The digest of the policies that hold it.
    pub(crate) policy: &'a str,
    /// The rules of the policies that hold it.
    pub(crate) rules: &'a [ApprovalRule],
    /// The caller that asks it.
    pub(crate) askers: &'a [Asker],
}

impl ApprovalEntry {
    /// Returns the release that the caller of a held question may use now.
    #[must_use]
    pub(crate) fn released(&self, held: &HeldQuestion<'_>, now: Timestamp) -> Option<&Release> {
        let release = self.release_for(held, now)?;
        self.approver_among(held).is_none().then_some(release)
    }

    /// Returns the approver that asks a held question now, and does not get the release for it:
    /// people cannot approve what they ask for, whether they ask before their vote or after it.
    #[must_use]
    pub(crate) fn withheld_from(&self, held: &HeldQuestion<'_>, now: Timestamp) -> Option<&str> {
        self.release_for(held, now)?;
        self.approver_among(held)
    }

    /// Returns the principal of an approval that is from the caller of the question.
    fn approver_among(&self, held: &HeldQuestion<'_>) -> Option<&str> {
        let mut approvals = self.votes.iter().filter(|vote| vote.approves);
        let own = approvals.find(|vote| {
            asked(
                held.question,
                held.askers,
                &vote.approver,
                vote.via.as_deref(),
            )
        });
        own.map(|vote| vote.approver.principal.as_str())
    }

    /// Returns the release if it covers a question now, without regard to the caller.
    fn release_for(&self, held: &HeldQuestion<'_>, now: Timestamp) -> Option<&Release> {
        let release = self.release.as_ref()?;
        let is_approved = self.state == ApprovalState::Approved;
        let stands = self.policy.as_deref() == Some(held.policy);
        let is_left = release.uses_left > 0 && now < release.until;
        let fits = self.question == *held.question || release.any_context && self.covers(held);
        (is_approved && stands && is_left && fits).then_some(release)
    }

    /// Returns whether the approvers decided on every rule that holds the question. In another
    /// context, further policies may hold it, whose approvers were not asked.
    fn covers(&self, held: &HeldQuestion<'_>) -> bool {
        !held.rules.is_empty() && held.rules.iter().all(|rule| self.rules.contains(rule))
    }

    /// Returns what the votes release: this call once, or more only if every approval grants more,
    /// and then the least of it.
    pub(super) fn release_from(&self, now: Timestamp, call: SignedDuration) -> Release {
        let approvals = self.votes.iter().filter(|vote| vote.approves);
        let mut grants = approvals.map(|vote| vote.grant);
        let first = grants.next().flatten();
        let narrowest = first.and_then(|first| {
            grants.try_fold(first, |least, grant| {
                let grant = grant?;
                Some(GrantedUse {
                    lasts: least.lasts.min(grant.lasts),
                    times: least.times.min(grant.times),
                })
            })
        });
        let (lasts, uses_left) = narrowest.map_or((call, 1), |grant| (grant.lasts, grant.times));
        Release {
            until: now.saturating_add(lasts).unwrap_or(Timestamp::MAX),
            uses_left,
            any_context: narrowest.is_some(),
        }
    }
}
