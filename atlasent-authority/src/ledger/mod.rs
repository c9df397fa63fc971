//! The rules of the permit ledger: when a permit is valid, and how its state changes.
//!
//! A permit is issued, and then consumed, revoked or left to expire. These rules are pure functions
//! on values; a [`Store`](crate::store::Store) makes each change atomic.

pub(crate) mod approval;
pub(crate) mod budget;
mod entry;
mod grant;
pub(crate) mod outstanding;
pub(crate) mod permit_key;
mod receipt;
mod refusal;
pub(crate) mod replay;
pub(crate) mod stops;
#[cfg(test)]
mod tests;
pub(crate) mod validity;

pub use approval::{
    ApprovalEntry, ApprovalKey, ApprovalState, AskedQuestions, EscalationId, InvalidEscalationId,
    NonceKey, Question, QuestionKey,
};
pub use budget::{BudgetKey, BudgetUse, Charge};
pub use entry::{PermitEntry, PermitState, Revoked};
pub use grant::PermitGrant;
pub use outstanding::{AgentKey, Outstanding};
pub use permit_key::{InvalidPermitId, PermitId, PermitKey};
pub use receipt::{ReceiptRefusal, RecordedEnd};
pub use refusal::{PermitMismatch, VerifyRefusal};
pub use replay::{Replay, ReplayKey};
pub use stops::{Stop, Stops};
