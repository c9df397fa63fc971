//! The audit chain: its events, and how anyone can check them without asking their author.
//!
//! Every event carries the hash of the one before it, so that a change, a gap or a reordering
//! shows. What is hashed is the event's payload; ours therefore repeats in its payload everything
//! that matters, and the [verifier](ChainVerifier) compares the two. Who wrote the chain is told by
//! the signature of a bundle, which the [`BundleVerifier`] checks.

mod bundle;
mod chain;
mod error;
mod event;
mod head;
mod keys;
mod members;
mod payload;
mod report;
mod scan;
mod signature;
mod trail;

pub use bundle::{BundleReport, BundleVerifier, Phase, Progress};
pub use chain::ChainVerifier;
pub use error::BundleError;
pub use event::{Envelope, Event, GENESIS_HASH, chain_hash};
pub use head::{HeadError, SignedHead};
pub use keys::{KeyError, TrustedKeys};
pub use payload::Payload;
pub use report::{ChainLink, ChainReport, Continuation, Finding, Problem};
pub use trail::Trail;

/// How deep an event may be nested. Python's SDK stops somewhat below 1,000.
pub const MAX_DEPTH: usize = 4_096;
