//! Nonces, and a ledger of claimed nonces in memory.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// The nonce of an approval. It is unique within its organization.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Nonce {
    /// The time at which the approval expires. From then on the nonce can be forgotten, since
    /// the approval is refused without it.
    pub expires_at: Timestamp,
    /// The organization.
    pub tenant_id: String,
    /// The nonce in the artifact.
    pub value: String,
}

impl Nonce {
    /// Creates the nonce of an approval, for instance to test a ledger of claimed nonces.
    #[must_use]
    pub fn new(
        tenant_id: impl Into<String>,
        value: impl Into<String>,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            expires_at,
            tenant_id: tenant_id.into(),
            value: value.into(),
        }
    }
}

/// A ledger of claimed nonces in memory, for tests and for programs of one process.
///
/// It holds each nonce until its approval expires. Once it is full, it refuses every claim.
///
/// ```
/// use atlasent::approval::MemoryNonces;
///
/// let nonces = MemoryNonces::with_capacity(10_000);
/// assert!(nonces.claim(&[], jiff::Timestamp::UNIX_EPOCH));
/// ```
#[derive(Debug)]
pub struct MemoryNonces {
    capacity: usize,
    claimed: Mutex<Claimed>,
}

#[derive(Debug, Default)]
struct Claimed {
    /// The organization and the value of each nonce.
    keys: HashSet<(String, String)>,
    /// The same nonces, the next to expire first.
    by_expiry: BTreeSet<Nonce>,
    /// The latest time of a claim.
    latest: Timestamp,
}

impl Default for MemoryNonces {
    /// Creates a ledger for a million nonces.
    fn default() -> Self {
        Self::with_capacity(1_000_000)
    }
}

impl MemoryNonces {
    /// Creates a ledger for this number of nonces.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            claimed: Mutex::default(),
        }
    }

    /// Claims all of these nonces, or none. Returns whether it claimed them.
    ///
    /// It refuses nonces that were claimed before, that are given twice, or that exceed its
    /// capacity. It refuses nonces that have expired by the time of any claim so far, since it may
    /// have forgotten them.
    #[must_use]
    pub fn claim(&self, nonces: &[Nonce], now: Timestamp) -> bool {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.forget_expired(now);
        let mut added = HashSet::new();
        let are_free = nonces.iter().all(|nonce| {
            let key = (nonce.tenant_id.clone(), nonce.value.clone());
            nonce.expires_at > claimed.latest && !claimed.keys.contains(&key) && added.insert(key)
        });
        if !are_free || claimed.keys.len() + added.len() > self.capacity {
            return false;
        }
        claimed.keys.extend(added);
        claimed.by_expiry.extend(nonces.iter().cloned());
        true
    }
}

impl Claimed {
    fn forget_expired(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now);
        while let Some(nonce) = self.by_expiry.first() {
            if nonce.expires_at > self.latest {
                break;
            }
            if let Some(Nonce {
                tenant_id, value, ..
            }) = self.by_expiry.pop_first()
            {
                self.keys.remove(&(tenant_id, value));
            }
        }
    }
}
