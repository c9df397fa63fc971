//! Approvals: people release what the policies hold.
//!
//! A request that a policy holds opens a pending decision ([`ApprovalEntry`]), or joins the one of
//! the same question. Approvers [vote](crate::LocalAuthority::vote) on it. When the policies' approvals are
//! there, the same question, asked again, gets a permit, once. Everything else is decided anew: an
//! approval lifts the hold and nothing else.

pub use crate::ledger::approval::{
    ApprovalEntry, ApprovalState, Approver, Asker, Closing, EscalationId, GrantedUse,
    InvalidApprover, InvalidEscalationId, MAX_APPROVER_NAME, MAX_APPROVER_ROLES, Question, Release,
    SealedText, ShownText, Step, Tally, Vote, VoteOutcome, VoteRefusal,
};
pub use crate::local::approvals::{
    ApprovalError, ApprovalFilter, ApprovalPage, Ballot, NewApproval,
};
pub use crate::store::ApprovalList;
