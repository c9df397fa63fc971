//! The organizations that a server serves: `local`, and those of a registry.
//!
//! `registry` knows which organizations exist, and their limits. `directory` hands out the
//! organization of a request, after `loader` has made its authority; each has its own policies, and
//! its own store on the medium of the server. An organization that no request has used for a while
//! leaves the memory; `due` knows when its pending decisions expire. Organizations with the same
//! policies share one set in memory (`shared_policies`).
//!
//! A request reaches one organization only: that of its API key. `entry` looks it up, and the
//! endpoints get it with their caller.

mod directory;
mod due;
mod hosting;
mod loader;
mod medium;
mod recorded;
mod registry;
mod served;
mod shared_policies;
mod unsaved_heads;

pub(crate) use directory::OrgDirectory;
pub use hosting::OrgHosting;
pub use registry::{OrgRegistry, OrgRegistryError};
pub(crate) use served::ServedOrg;
pub(in crate::server) use shared_policies::SharedPolicies;
