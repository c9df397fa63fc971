//! A stretch of a chain in memory.

use serde::{Deserialize, Serialize};

use super::chain::ChainVerifier;
use super::event::{Event, GENESIS_HASH};
use super::report::ChainReport;

/// A stretch of a chain, as it is exported: a bundle that nobody signed. [`BundleVerifier`] checks the exported one.
///
/// [`BundleVerifier`]: super::BundleVerifier
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The hash of the last event; 64 zeros when there is no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_head_hash: Option<String>,
    /// How many events there are.
    pub event_count: u64,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

impl Trail {
    /// The trail of `events`, which must be in order.
    #[must_use]
    pub fn new(events: Vec<Event>) -> Self {
        let head = events.last().map_or(GENESIS_HASH, |event| &event.hash);
        Self {
            chain_head_hash: Some(head.to_owned()),
            event_count: u64::try_from(events.len()).unwrap_or(u64::MAX),
            events,
        }
    }

    /// Checks the whole trail.
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
