//! The organizations that a server serves.

mod registry;

pub use registry::{OrgRegistry, OrgRegistryError};
