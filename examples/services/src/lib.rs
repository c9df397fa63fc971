//! A clinic that the example services serve over different protocols: its policies, its records and
//! its agents' tokens.
//!
//! | agent | may |
//! |---|---|
//! | `chart-bot` | read records, and add notes to them with a reason |
//! | `billing-bot` | read records |
//!
//! A discharge is on hold until a doctor agrees. The record of `patient-1` is closed to agents.
//!
//! The policies are those of all services, since the build script checks the whole package against
//! one folder: the service with orders and the MCP server have their policies there, too.

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

/// Returns an authority with the policies of all services, which are in `examples/services/policies`.
/// Permits and audit trail are in memory.
///
/// # Errors
///
/// If the policies cannot be loaded.
pub fn authority() -> Result<LocalAuthority, Box<dyn Error + Send + Sync>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    Ok(LocalAuthority::in_memory(Policies::from_dir(policies)?)?)
}
