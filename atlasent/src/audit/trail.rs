//! A part of a chain, in memory.

use serde::{Deserialize, Serialize};

use super::chain::ChainVerifier;
use super::event::{Event, GENESIS_HASH};
use super::report::ChainReport;

/// Consecutive events of a chain, in the format of an unsigned bundle. [`BundleVerifier`] checks
/// signed bundles.
///
/// [`BundleVerifier`]: super::BundleVerifier
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The hash of the last event; 64 zeros in a trail without events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_head_hash: Option<String>,
    /// The number of events.
    pub event_count: u64,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

impl Trail {
    /// Creates a trail of `events`, which must be in the order of the chain.
    #[must_use]
    pub fn new(events: Vec<Event>) -> Self {
        let head = events.last().map_or(GENESIS_HASH, |event| &event.hash);
        Self {
            chain_head_hash: Some(head.to_owned()),
            event_count: u64::try_from(events.len()).unwrap_or(u64::MAX),
            events,
        }
    }

    /// Checks the chain of the events, the head and the number of events.
    ///
    /// ```
    /// use atlasent::audit::{Event, GENESIS_HASH, Trail, chain_hash};
    ///
    /// let payload = r#"{"created_at":"2026-01-01T00:00:00Z","id":"e1","occurred_at":"2026-01-01T00:00:00Z",
    ///     "org_id":"local","sequence":1,"type":"policy.loaded"}"#;
    /// let hash = chain_hash(GENESIS_HASH, &payload.parse()?);
    /// let event = Event::from_payload(payload, GENESIS_HASH.to_owned(), hash)?;
    ///
    /// let mut trail = Trail::new(vec![event]);
    /// assert!(trail.verify().is_intact());
    /// trail.events[0].envelope.actor_id = Some("somebody-else".into());
    /// assert!(!trail.verify().is_intact());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn verify(&self) -> ChainReport {
        let mut verifier = ChainVerifier::new();
        for event in &self.events {
            verifier.push(event);
        }
        verifier.finish(self.chain_head_hash.as_deref(), Some(self.event_count))
    }
}
