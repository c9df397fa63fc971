//! The audit chain: its events, and verifiers that need no access to the authority that wrote them.
//!
//! Every event carries the hash of the previous event, so a change, a gap or a reordering is
//! detected. The hash covers the event's payload and not its envelope. The embedded authority
//! therefore repeats the envelope in the payload, and the [`ChainVerifier`] compares the two. A
//! bundle's signature proves who wrote the chain; the [`BundleVerifier`] checks it.

mod bundle;
mod chain;
mod checked_event;
mod error;
mod event;
mod hash;
mod head;
mod keys;
mod members;
mod payload;
mod pipeline;
mod progress;
mod report;
mod scan;
mod signature;
mod trail;

pub use bundle::{BundleReport, BundleVerifier};
pub use chain::ChainVerifier;
pub use error::BundleError;
pub use event::{Envelope, Event, GENESIS_HASH, chain_hash};
pub use head::{HeadError, SignedHead};
pub use keys::{KeyError, TrustedKeys};
pub use payload::Payload;
pub use progress::{Phase, Progress};
pub use report::{ChainLink, ChainReport, Continuation, Finding, Problem};
pub use trail::Trail;

/// The maximum nesting depth of an event. Python's SDK stops somewhat below 1,000.
pub const MAX_DEPTH: usize = 4_096;
