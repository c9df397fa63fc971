//! How far the notifications of an endpoint are: a cell, so that servers that share a store take
//! turns, and a restart neither loses nor restarts anything.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Cell, CellKey, Changeset};

/// The key of an endpoint's cell: a digest of the endpoint's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookKey([u8; 32]);

impl WebhookKey {
    /// Returns the key of the endpoint with a name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Sha256::digest(name).into())
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How far the notifications of an endpoint are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookState {
    /// The sequence number of the last event that was delivered or dropped.
    pub delivered: u64,
    /// The server that delivers at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<WebhookLease>,
    /// How often the delivery of the next event was attempted.
    #[serde(default)]
    pub attempts: u32,
    /// How many attempts have failed since the last delivery.
    #[serde(default)]
    pub failures: u32,
    /// The time before which nothing is attempted, after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// The digest of the address that answered 410 (Gone). While the endpoint has that address,
    /// nothing is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// The right of one server to deliver to an endpoint, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookLease {
    /// The server, by a random number that it draws when it starts.
    pub holder: String,
    /// When the right ends.
    pub until: Timestamp,
}

/// No lease and no pause is longer. What seems to be was written by a clock that was ahead, and
/// does not count.
const LONGEST: SignedDuration = SignedDuration::from_mins(65);

impl WebhookState {
    /// Returns the end of another server's right to deliver, if another server has it now.
    #[must_use]
    pub fn leased_until(&self, holder: &str, now: Timestamp) -> Option<Timestamp> {
        let lease = self.lease.as_ref()?;
        (lease.holder != holder && is_ahead(lease.until, now)).then_some(lease.until)
    }

    /// Returns the time before which nothing is attempted, if it is to come.
    #[must_use]
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_attempt.filter(|next| is_ahead(*next, now))
    }
}

fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    let left = time.duration_since(now);
    left.is_positive() && left <= LONGEST
}

impl Changeset<'_> {
    /// Returns how far the notifications of an endpoint are. The change must name the endpoint's
    /// cell among its reads.
    #[must_use]
    pub fn webhook(&self, key: WebhookKey) -> Option<&WebhookState> {
        match self.cell(CellKey::Webhook(key))? {
            Cell::Webhook(state) => Some(state),
            _ => None,
        }
    }

    /// Writes how far the notifications of an endpoint are.
    pub fn keep_webhook(&mut self, key: WebhookKey, state: WebhookState) {
        self.keep(CellKey::Webhook(key), Cell::Webhook(Box::new(state)));
    }
}
