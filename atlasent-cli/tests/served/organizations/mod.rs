//! `atlasent serve` with several organizations: their files, their chains, and two servers on one
//! database.

mod archive;
mod files;
mod heads;
mod many;
mod offline;
mod replicas;
pub(crate) mod support;
