//! Approvals that a request carries: signed artifacts and quorums of trusted issuers (contract,
//! part D, "Approval artifacts"). Each counts as a vote on the request's pending decision.

use atlasent::approval::{
    ActionBinding, Expected, Nonce, QuorumPolicy, Reason, TrustedIssuers, Verified,
    verify_artifact, verify_quorum,
};
use atlasent::wire::{ApprovalRecord, EvaluateRequest};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::ledger::approval::{
    ApprovalEntry, Approver, MAX_APPROVER_NAME, NonceKey, Vote, VoteOutcome,
};
use crate::local::caller::Attribution;
use crate::policy::{ApprovalRule, Approvers};
use crate::store::{CellKey, Changeset};
use crate::trail::approval_events;

/// The reason of a denial for an approval of another request (contract, part D).
const OTHER_ACTION: &str = "approval does not match this action";

/// What a request says of approvals, verified.
#[derive(Clone, Debug, Default)]
pub(in crate::local) struct PresentedApprovals {
    /// The pending decision that the request names.
    id: Option<String>,
    votes: Vec<SignedVote>,
}

/// A verified approval, as a vote.
#[derive(Clone, Debug)]
struct SignedVote {
    approver: Approver,
    artifact: ApprovalRecord,
    nonce: Nonce,
    /// The position in the quorum. Unset for a single approval.
    entry: Option<usize>,
}

/// What the member `approval` of a request names: a pending decision, or a signed approval.
enum Reference<'a> {
    Id(&'a str),
    Artifact(&'a Value),
}

impl<'a> Reference<'a> {
    /// Reads the member. A `null` in it counts as absent.
    ///
    /// A member with both an id and an artifact is refused: the artifact could release another
    /// decision than the one that the id names.
    fn read(approval: &'a Value) -> Result<Self, Reason> {
        let member = |name| approval.get(name).filter(|value| !value.is_null());
        let reference = match (member("approval_id"), member("artifact")) {
            (None, Some(artifact)) => Self::Artifact(artifact),
            (Some(Value::String(id)), None) => Self::Id(id),
            (_, None) => return Err(Reason::MissingArtifact),
            (Some(_), Some(_)) => return Err(Reason::InvalidArtifactVersion),
        };
        let is_known = |name: &String| name == "approval_id" || name == "artifact";
        let members = approval.as_object();
        match members.is_some_and(|members| members.keys().all(is_known)) {
            true => Ok(reference),
            false => Err(Reason::InvalidArtifactVersion),
        }
    }
}

impl PresentedApprovals {
    /// Verifies what a request carries. `now` is the chain's time.
    ///
    /// # Errors
    ///
    /// The reason of the contract, for an approval that is not good for this request.
    pub(in crate::local) fn verify(
        request: &EvaluateRequest,
        rules: &[ApprovalRule],
        tenant: &str,
        trusted: &TrustedIssuers,
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut presented = Self::default();
        let expected = Expected::for_action(tenant, &ActionBinding::from(request));
        if let Some(approval) = &request.options.approval {
            match Reference::read(approval).map_err(|reason| reason.to_string())? {
                Reference::Id(id) => presented.id = Some(id.to_owned()),
                Reference::Artifact(artifact) => {
                    let verified = verify_artifact(artifact, &expected, trusted, now);
                    let verified = verified.map_err(|reason| reason.to_string())?;
                    presented.add(verified, None, rules)?;
                }
            }
        }
        if let Some(quorum) = &request.options.approval_quorum {
            let required = rules.iter().map(|rule| rule.quorum.required()).max();
            let policy = QuorumPolicy::new(u64::from(required.unwrap_or(1)));
            let expected = expected.quorum_policy(policy);
            let verified = verify_quorum(quorum, &expected, trusted, now);
            let verified = verified.map_err(|reason| reason.to_string())?;
            for (index, approval) in verified.approvals.into_iter().enumerate() {
                presented.add(approval, Some(index), rules)?;
            }
        }
        // The contract's action hash has no actors, so a signed approval never names a delegate.
        if presented.has_votes() && !request.actors.is_empty() {
            return Err(OTHER_ACTION.to_owned());
        }
        Ok(presented)
    }

    /// Adds a verified approval: the one at the position `entry` of a quorum, or a single one.
    fn add(
        &mut self,
        verified: Verified,
        entry: Option<usize>,
        rules: &[ApprovalRule],
    ) -> Result<(), String> {
        let mut roles = verified.reviewer_roles;
        // Roles that a rule lists come first, since an approver has a limited number of roles.
        roles.sort_by_key(|role| !is_listed(role, rules));
        // An invalid name is refused like any invalid member of an artifact.
        let is_short = verified
            .approval_id
            .chars()
            .nth(MAX_APPROVER_NAME)
            .is_none();
        let approver = Approver::from_issuer(verified.reviewer_id.clone(), roles).ok();
        let approver = approver
            .filter(|_| is_short)
            .ok_or_else(|| in_quorum(entry, Reason::InvalidArtifactVersion).to_string())?;
        self.votes.push(SignedVote {
            approver,
            artifact: ApprovalRecord::new(
                verified.approval_id,
                verified.artifact_hash,
                verified.reviewer_id,
                verified.issuer_id,
                verified.kid,
            ),
            nonce: verified.nonce,
            entry,
        });
        Ok(())
    }

    /// Returns the cells that the transaction reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = CellKey> {
        self.votes
            .iter()
            .map(|vote| CellKey::Nonce(NonceKey::new(&vote.nonce)))
    }

    /// Returns whether the request carries signed approvals.
    pub(super) fn has_votes(&self) -> bool {
        !self.votes.is_empty()
    }

    /// Checks that the request names one of these decisions, if it names one.
    pub(super) fn check_id<'a>(
        &self,
        mut rows: impl Iterator<Item = &'a ApprovalEntry>,
    ) -> Result<(), String> {
        match &self.id {
            Some(id) if !rows.any(|row| row.id.to_string() == *id) => Err(OTHER_ACTION.to_owned()),
            _ => Ok(()),
        }
    }

    /// Casts the votes on a pending decision, all together, claims their nonces, and records the
    /// votes. Approvals beyond those that the policies ask for count as well. The first time that a
    /// decision is written, `open` records it before.
    ///
    /// # Errors
    ///
    /// Why a vote does not count. Nothing is recorded or claimed then.
    pub(super) fn cast(
        &self,
        row: &mut ApprovalEntry,
        call: SignedDuration,
        attribution: &Attribution,
        changeset: &mut Changeset<'_>,
        open: impl FnOnce(&mut ApprovalEntry, &mut Changeset<'_>),
    ) -> Result<(), String> {
        let at = changeset.time();
        // An approval may have expired since it was verified. The claim of an expired nonce is
        // forgotten, so such an approval could be replayed.
        let expired = |signed: &&SignedVote| signed.nonce.expires_at <= at;
        if let Some(signed) = self.votes.iter().find(expired) {
            return Err(in_quorum(signed.entry, Reason::Expired).to_string());
        }
        let (mut voted, mut cast, mut used) = (row.clone(), Vec::new(), Vec::new());
        for signed in &self.votes {
            let vote = signed.vote(at);
            let is_new = voted
                .add_vote(vote.clone())
                .map_err(|refusal| refusal.to_string())?;
            // The same approval again is no replay: the request waits for others.
            let waits = !is_new && row.votes.iter().any(|known| known.id == vote.id);
            if changeset.is_claimed(NonceKey::new(&signed.nonce)) && !waits {
                return Err(signed.replayed().to_string());
            }
            if is_new {
                cast.push(vote);
                used.push(&signed.nonce);
            }
        }
        open(row, changeset);
        voted.sequence = row.sequence;
        let outcome = match cast.is_empty() {
            true => VoteOutcome::Repeated,
            false => voted.decide(changeset.time(), call),
        };
        if outcome == VoteOutcome::Granted {
            // An approval of a person who had voted before releases nothing else either.
            used = self.votes.iter().map(|signed| &signed.nonce).collect();
        }
        for nonce in used {
            changeset.claim(NonceKey::new(nonce), nonce.expires_at);
        }
        for vote in &cast {
            let event = approval_events::voted(&voted, vote);
            changeset.record(attribution.sign(event));
        }
        if outcome == VoteOutcome::Granted {
            changeset.record(attribution.sign(approval_events::granted(&voted)));
        }
        *row = voted;
        Ok(())
    }
}

/// Returns the reason for the approval at the position `entry` of a quorum, or for a single one.
fn in_quorum(entry: Option<usize>, reason: Reason) -> Reason {
    match entry {
        Some(index) => Reason::QuorumEntry {
            index,
            reason: Box::new(reason),
        },
        None => reason,
    }
}

/// Returns whether a rule lists a role, now or after an escalation.
fn is_listed(role: &str, rules: &[ApprovalRule]) -> bool {
    let role = [role.to_owned()];
    let lists = |approvers: &Approvers| approvers.include("", &role);
    rules
        .iter()
        .any(|rule| lists(&rule.approvers) || rule.escalate_to.iter().any(lists))
}

impl SignedVote {
    /// Returns the reason for an approval whose nonce was claimed before.
    fn replayed(&self) -> Reason {
        match self.entry {
            Some(_) => Reason::QuorumReplay,
            None => Reason::Replay,
        }
    }

    fn vote(&self, at: Timestamp) -> Vote {
        let artifact = self.artifact.clone();
        Vote {
            id: artifact.approval_id.clone(),
            approver: self.approver.clone(),
            via: Some(format!("{}/{}", artifact.issuer_id, artifact.kid)),
            approves: true,
            note: None,
            grant: None,
            artifact: Some(artifact),
            at,
        }
    }
}
