//! The requests and answers of the HTTP contract, with their names on the wire.
//!
//! | request | answer |
//! |---|---|
//! | [`EvaluateRequest`] with [`RequestOptions`]: may this agent do this? | [`Evaluation`] with the [`PermitToken`], the [`ConstraintTrace`] and the [`RateLimit`] |
//! | [`VerifyRequest`]: is this permit good, and consume it | [`Verification`] |
//! | a permit by its id | [`PermitInfo`] with its [`PermitStatus`] |
//! | a revocation | [`Revocation`] |
//! | [`CreateEscalation`], [`CastVote`], [`EscalateRequest`], [`EscalationFilter`]: a decision that waits for people | [`Escalation`] with its [`EscalationStatus`] and [`QuorumProgress`], [`EscalationPage`], [`Vote`], [`EscalationStep`] |
//! | [`Receipt`]: how the body of a permit ended | [`RecordedReceipt`] |
//!
//! An implementation of [`Authority`](crate::Authority) takes the first two requests and returns
//! their answers. Code that protects actions needs none of these types: it works with a
//! [`Permit`](crate::Permit) or an [`Error`](crate::Error).
//!
//! The fields `actor_id` and `action_type` are the agent and the action. [`OtherFields`] holds the
//! fields of an answer that this version does not know. [`execution_hash`] is the hash that binds a
//! permit to agent, action and context, and [`WrittenNumbers`] the numbers that it is computed
//! with. [`StopScope`] says what a stop covers, [`ApprovalRecord`] who approved what a permit was
//! granted for, and [`BudgetState`] what is left of a budget.

/// The HTTP header with the digest of a policy schema, as
/// `atlasent_authority::Policies::schema_digest` returns it: in a request, that of the program
/// which sends it; in an answer, that of the policies which decided.
pub const SCHEMA_DIGEST_HEADER: &str = "x-atlasent-schema-digest";

/// The largest integer of the contract's JSON: 2^53 − 1. JavaScript and other languages that read
/// numbers as 64-bit floats round larger integers (RFC 7493, section 2.2), so a chain with a larger
/// one would not verify there.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

mod approval_record;
mod budget_state;
mod constraint;
mod escalation;
pub(crate) mod evaluate;
mod execution_hash;
mod options;
mod other;
mod permit_info;
mod public_key;
mod rate_limit;
mod receipt;
mod request;
mod revocation;
mod sent_request_id;
pub(crate) mod stop_scope;
mod token;
mod verification;
mod verify;

pub use crate::written::WrittenNumbers;
pub use approval_record::ApprovalRecord;
pub use budget_state::BudgetState;
pub use constraint::{ConstraintTrace, PolicyTrace, StageTrace};
pub use escalation::{
    CastVote, CreateEscalation, EscalateRequest, Escalation, EscalationFilter, EscalationPage,
    EscalationStatus, EscalationStep, ExpiredReason, FallbackDecision, QuorumProgress, QuorumTier,
    Vote, VoteDecision,
};
pub use evaluate::Evaluation;
pub use execution_hash::{ExecutionHash, execution_hash, execution_hash_of_text};
pub use options::RequestOptions;
pub use other::OtherFields;
pub use permit_info::{PermitInfo, PermitStatus};
pub use public_key::PublicKey;
pub use rate_limit::RateLimit;
pub use receipt::{Receipt, ReceiptOutcome, RecordedReceipt, ResultHash};
pub use request::EvaluateRequest;
pub use revocation::Revocation;
pub use stop_scope::StopScope;
pub use token::PermitToken;
pub use verification::Verification;
pub use verify::VerifyRequest;

#[cfg(feature = "client")]
pub(crate) use other::take_string;
pub(crate) use sent_request_id::SentRequestId;
