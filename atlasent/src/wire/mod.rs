//! The requests and responses of the HTTP contract, with the names that they have on the wire.

mod constraint;
pub(crate) mod evaluate;
mod options;
mod other;
mod permit_info;
mod public_key;
mod rate_limit;
mod request;
mod revocation;
mod sent_request_id;
pub(crate) mod stop_scope;
mod token;
mod verify;

pub use crate::canonical::{execution_hash, execution_hash_of_text};
pub use crate::written::WrittenNumbers;
pub use constraint::{ConstraintTrace, PolicyTrace, StageTrace};
pub use evaluate::Evaluation;
pub use options::RequestOptions;
pub use other::OtherFields;
pub use permit_info::{PermitInfo, PermitStatus};
pub use public_key::PublicKey;
pub use rate_limit::RateLimit;
pub use request::EvaluateRequest;
pub use revocation::Revocation;
pub use stop_scope::StopScope;
pub use token::PermitToken;
pub use verify::{Verification, VerifyRequest};

pub(crate) use sent_request_id::SentRequestId;
