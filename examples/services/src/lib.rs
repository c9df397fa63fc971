//! A clinic, which the example services put onto different protocols: its policies, its records, its agents' tokens.
//!
//! | agent | may |
//! |---|---|
//! | `chart-bot` | read records, and add notes to them with a reason |
//! | `billing-bot` | read records |
//!
//! Nobody discharges a patient without a doctor, and what `patient-1` has is nobody's business.

mod actions;
pub mod grpc;
mod records;
mod tokens;

use std::error::Error;
use std::path::Path;

use atlasent_authority::{LocalAuthority, Policies};

pub use actions::{ModifyPatientRecord, ReadPatientRecord};
pub use records::{Record, Records};
pub use tokens::Tokens;

/// The clinic's authority: its policies in `examples/services/policies`, its permits and its trail in memory.
///
/// # Errors
///
/// If the policies cannot be loaded.
pub fn authority() -> Result<LocalAuthority, Box<dyn Error + Send + Sync>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    Ok(LocalAuthority::in_memory(Policies::from_dir(policies)?)?)
}
