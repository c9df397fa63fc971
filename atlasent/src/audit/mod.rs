//! The audit chain: its events, and how anyone can check them without asking their author.
//!
//! Every event carries the hash of the one before it, so that a change, a gap or a reordering shows. What is
//! hashed is the event's payload; ours therefore repeats in its payload everything that matters, and the
//! [verifier](ChainVerifier) compares the two. Who wrote the chain is not told here.

mod event;
mod verify;

pub use event::{Envelope, Event, GENESIS_HASH, Trail, chain_hash};
pub use verify::{ChainReport, ChainVerifier, Finding, Problem};
