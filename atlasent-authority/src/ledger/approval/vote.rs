//! Votes: who may cast one, and when there are enough.

use std::time::Duration;

use atlasent::wire::ApprovalRecord;
use base16ct::lower;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::{ApprovalEntry, ApprovalState, Asker, Closing};
use super::{Approver, Question};
use crate::policy::ApprovalRule;
use crate::trail::chain::format_time;

/// One vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The id of the vote: for a signed approval, the id of the approval.
    pub id: String,
    /// Who voted, with the roles at that time.
    pub approver: Approver,
    /// The API key that carried the vote, or the issuer of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Whether it approves. Otherwise it rejects.
    pub approves: bool,
    /// What the approver wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What an approval grants beyond this one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantedUse>,
    /// The signed approval that counts as the vote. Unset for a vote cast at this authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ApprovalRecord>,
    /// When it was cast.
    pub at: Timestamp,
}

impl Vote {
    /// Returns the record of the vote in the permit that it releases (contract, part D).
    ///
    /// A signed approval has the record of its artifact, which its issuer can look up. A vote that
    /// was cast at this authority has no artifact: its record names the pending decision and what
    /// the vote agrees to, and this authority vouches for the person.
    pub(super) fn record(&self, row: &ApprovalEntry) -> ApprovalRecord {
        self.artifact.clone().unwrap_or_else(|| {
            ApprovalRecord::new(
                row.id.to_string(),
                self.digest(row),
                self.approver.principal.clone(),
                "atlasent",
                self.via.clone().unwrap_or_default(),
            )
        })
    }

    /// Returns the SHA-256 of what the vote agrees to, in lower-case hex: the decision, what was
    /// asked and shown, who voted, how and when.
    fn digest(&self, row: &ApprovalEntry) -> String {
        let said = serde_json::json!({
            "action_hash": row.question.action_hash,
            "approver": self.approver.principal,
            "at": format_time(self.at),
            "escalation_id": row.id,
            "shown_hash": row.shown_hash,
            "vote": if self.approves { "approve" } else { "reject" },
        });
        // The keys of a `Value` are in order.
        lower::encode_string(&Sha256::digest(said.to_string()))
    }
}

/// What an approval grants beyond one call: the same action on the same resource for the agent, in
/// any context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedUse {
    /// For how long, from the approval on.
    pub lasts: SignedDuration,
    /// How often.
    pub times: u32,
}

/// What became of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteOutcome {
    /// The same vote was cast before.
    Repeated,
    /// The vote counts, and more are needed.
    Counted,
    /// The vote was the last that was needed.
    Granted,
    /// The vote rejects.
    Rejected,
}

/// Why a vote was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoteRefusal {
    /// The decision is closed.
    #[error("the decision is made already: it is {}", state_word(*.0))]
    Closed(ApprovalState),
    /// The approver asked the question.
    #[error("`{0}` asked for this, and nobody can approve what they asked for themselves")]
    OwnQuestion(String),
    /// The approver is not among those that the policies name.
    #[error("`{principal}` cannot decide this: it takes {approvers}")]
    NotAnApprover {
        /// Who tried to vote.
        principal: String,
        /// Who can vote, for people.
        approvers: String,
    },
    /// The approver voted otherwise before.
    #[error("`{0}` has voted otherwise already, and a vote cannot be changed")]
    VotedOtherwise(String),
    /// The decision cannot be escalated further.
    #[error("there is nobody left to escalate to")]
    LastStep,
    /// The request is sealed with a key that the authority does not have, so the approver could not
    /// see it.
    #[error(
        "the request cannot be shown, so it cannot be approved: it is sealed with the key `{0}`, \
         which is missing here or does not open it"
    )]
    Sealed(String),
    /// The policies allow no approval beyond the one call, or none for so long.
    #[error("{0}")]
    Grant(String),
}

/// How far the votes have come, over all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many approvals the rule that needs the most asks for.
    pub required: u32,
    /// How many people approved.
    pub approved: u32,
    /// How many people rejected.
    pub rejected: u32,
    /// How many approvals the rule that lacks the most still needs.
    pub remaining: u32,
    /// Whether each rule has its approvals.
    pub satisfied: bool,
}

impl ApprovalEntry {
    /// Casts a vote. `call` says how long an approval of this one call is good.
    ///
    /// # Errors
    ///
    /// [`VoteRefusal`], and nothing changes.
    pub fn vote(&mut self, vote: Vote, call: SignedDuration) -> Result<VoteOutcome, VoteRefusal> {
        let at = vote.at;
        match self.add_vote(vote)? {
            true => Ok(self.decide(at, call)),
            false => Ok(VoteOutcome::Repeated),
        }
    }

    /// Adds a vote without [deciding](Self::decide), so that votes that are cast together all
    /// count. Returns `false` for a vote that was cast before.
    ///
    /// # Errors
    ///
    /// [`VoteRefusal`], and nothing changes.
    pub(crate) fn add_vote(&mut self, vote: Vote) -> Result<bool, VoteRefusal> {
        let voter = vote.approver.principal.clone();
        let earlier = self
            .votes
            .iter()
            .find(|cast| is_same(&cast.approver.principal, &voter));
        if let Some(earlier) = earlier {
            // A repeated approval without a grant leaves the grant of the first as it is.
            let is_same = earlier.approves == vote.approves
                && (vote.grant.is_none() || vote.grant == earlier.grant);
            return match is_same {
                true => Ok(false),
                false => Err(VoteRefusal::VotedOtherwise(voter)),
            };
        }
        self.check_voter(&vote.approver, vote.via.as_deref())?;
        self.check_grant(&vote)?;
        self.votes.push(vote);
        Ok(true)
    }

    /// Closes the decision at `now` if the last vote rejects, or if there are enough approvals.
    /// `call` says how long an approval of this one call is good.
    pub(crate) fn decide(&mut self, now: Timestamp, call: SignedDuration) -> VoteOutcome {
        let Some(last) = self.votes.last() else {
            return VoteOutcome::Counted;
        };
        let outcome = match (last.approves, self.tally().satisfied) {
            (false, _) => VoteOutcome::Rejected,
            (true, false) => return VoteOutcome::Counted,
            (true, true) => VoteOutcome::Granted,
        };
        self.closing = Some(Closing {
            at: now,
            by: Some(last.approver.principal.clone()),
            note: last.note.clone(),
            expired: None,
        });
        self.state = match outcome {
            VoteOutcome::Granted => ApprovalState::Approved,
            _ => ApprovalState::Rejected,
        };
        if outcome == VoteOutcome::Granted && self.policy.is_some() {
            self.release = Some(self.release_from(now, call));
        }
        outcome
    }

    /// Checks that a person may vote. `via` names the credential: the API key, or the issuer of the
    /// token.
    ///
    /// # Errors
    ///
    /// [`VoteRefusal`] when the decision is closed, when the person or the credential asked for it,
    /// or when the policies name others.
    pub fn check_voter(&self, voter: &Approver, via: Option<&str>) -> Result<(), VoteRefusal> {
        if !self.is_open() {
            return Err(VoteRefusal::Closed(self.state));
        }
        if asked(&self.question, &self.askers, voter, via) {
            return Err(VoteRefusal::OwnQuestion(voter.principal.clone()));
        }
        if !self.rules.iter().any(|rule| self.counts_for(rule, voter)) {
            return Err(VoteRefusal::NotAnApprover {
                principal: voter.principal.clone(),
                approvers: self.approvers(),
            });
        }
        Ok(())
    }

    /// Returns how many approvals a rule still needs.
    #[must_use]
    pub fn missing(&self, rule: &ApprovalRule) -> u32 {
        let approvals = self.votes.iter().filter(|vote| vote.approves);
        let approvals = approvals.filter(|vote| self.counts_for(rule, &vote.approver));
        rule.quorum
            .required()
            .saturating_sub(number(approvals.count()))
    }

    /// Returns the longest time for which an approval may be good beyond the one call. `None` if
    /// the policies allow that one call only.
    #[must_use]
    pub fn longest_grant(&self) -> Option<Duration> {
        // `None` sorts first: a rule that allows no grant counts before all others.
        self.rules.iter().map(|rule| rule.grants).min().flatten()
    }

    /// Returns how far the votes have come.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let count = |approves| {
            self.votes
                .iter()
                .filter(|vote| vote.approves == approves)
                .count()
        };
        let remaining = self.rules.iter().map(|rule| self.missing(rule)).max();
        let required = self.rules.iter().map(|rule| rule.quorum.required()).max();
        Tally {
            required: required.unwrap_or(0),
            approved: number(count(true)),
            rejected: number(count(false)),
            remaining: remaining.unwrap_or(0),
            // Without any rule, the decision must not count as satisfied.
            satisfied: remaining == Some(0),
        }
    }

    /// Returns whether a vote counts for a rule: by the roles at the time of the vote, and by the
    /// escalations up to now.
    fn counts_for(&self, rule: &ApprovalRule, voter: &Approver) -> bool {
        let Approver { principal, roles } = voter;
        let steps = rule.escalate_to.iter().take(self.depth());
        std::iter::once(&rule.approvers)
            .chain(steps)
            .any(|approvers| approvers.include(principal, roles))
    }

    fn check_grant(&self, vote: &Vote) -> Result<(), VoteRefusal> {
        let Some(grant) = vote.grant.filter(|_| vote.approves) else {
            return Ok(());
        };
        let longest = self.longest_grant();
        let Some(longest) = longest.and_then(|longest| SignedDuration::try_from(longest).ok())
        else {
            let text =
                "the policy allows an approval of this one call only: it has no `@approval_grants`";
            return Err(VoteRefusal::Grant(text.to_owned()));
        };
        if grant.lasts > longest || grant.lasts <= SignedDuration::ZERO || grant.times == 0 {
            return Err(VoteRefusal::Grant(format!(
                "the policy allows an approval for {longest:#} at most, and for one use at least"
            )));
        }
        Ok(())
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Returns whether a person is the agent, acts for it, or asked in its name. `via` names the
/// credential of the person.
pub(super) fn asked<'a>(
    question: &Question,
    askers: impl IntoIterator<Item = &'a Asker>,
    person: &Approver,
    via: Option<&str>,
) -> bool {
    let person = &person.principal;
    let mut agents = std::iter::once(&question.agent).chain(&question.actors);
    agents.any(|agent| is_same(person, agent.as_str()))
        || askers.into_iter().any(|asker| match asker {
            Asker::Key(key) => via == Some(key),
            Asker::Principal(principal) => is_same(principal, person),
        })
}

/// Returns whether two names are of one person or agent. Case and surrounding white space are
/// ignored, so that two spellings never count as two people.
fn is_same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

fn state_word(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending | ApprovalState::Escalated => "open",
        ApprovalState::Approved => "approved",
        ApprovalState::Rejected => "rejected",
        ApprovalState::TimedOut => "expired",
    }
}
