//! Pending decisions: holds that approvers can release, as pure rules.
//!
//! A worked example. The policies hold `deploy` and name two approvers of the role `sre`:
//!
//! ```text
//! bot asks                 row opened    pending     0 of 2 approvals
//! bot asks the same        row joined    pending
//! alice (sre) approves     vote          pending     1 of 2
//! bob (sre) approves       vote          approved    2 of 2, good for one use until 13:00
//! bot asks the same        released: a permit, as if no policy held the action
//! bot asks the same        a new row
//! ```
//!
//! A row that is rejected, expired, or whose policies changed releases nothing.

mod approver;
mod entry;
mod key;
mod nonce;
mod question;
mod release;
mod shown_text;
#[cfg(test)]
mod tests;
mod vote;

#[cfg(feature = "server")]
pub(crate) use approver::check_name;
pub use approver::{Approver, InvalidApprover, MAX_APPROVER_NAME, MAX_APPROVER_ROLES};
pub(crate) use entry::ttl;
pub use entry::{ApprovalEntry, ApprovalState, Asker, Closing, Step};
pub use key::{ApprovalKey, EscalationId, InvalidEscalationId};
pub use nonce::NonceKey;
pub use question::{AskedQuestions, Question, QuestionKey};
pub(crate) use release::HeldQuestion;
pub use release::Release;
pub use shown_text::{SealedText, ShownText};
pub use vote::{GrantedUse, Tally, Vote, VoteOutcome, VoteRefusal};
