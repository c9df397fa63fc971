//! How many unused permits an agent holds, so that one agent cannot fill the ledger; and how many all
//! agents hold together, where that is limited.
//!
//! The count has to fall when a permit is used, and also when a permit expires, which no change
//! records. So permits are counted by the time at which they expire, in at most 64 slots of equal
//! length. Permits for an hour have slots of 56 s, and each slot ends at a multiple of 56 s
//! since 1970:
//!
//! ```text
//! issued at    expires at   counted in the slot that ends at
//! 12:00:00     13:00:00     13:00:16   (the first multiple of 56 s after it)
//! 12:00:10     13:00:10     13:00:16   → slots: { 13:00:16: 2 }
//! 12:00:30     13:00:30     13:01:12   → slots: { 13:00:16: 2, 13:01:12: 1 }
//! ```
//!
//! At 13:00:05 the count is still 3, although the first permit has expired. At 13:00:16 its slot is
//! skipped as a whole, and the count is 1. Had the second permit been used at 12:30,
//! `remove` would have found its slot again from its two times, and the count would have been 2.
//!
//! So an expired permit may count for up to one slot longer, a 64th of its life. An unused permit
//! always counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ledger::{PermitEntry, PermitGrant};

/// How many slots a permit's life has.
const SLOTS: i64 = 64;

/// The key of an agent's count: a digest, since the names of agents have any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentKey([u8; 32]);

impl AgentKey {
    /// Returns the key of an agent. `live` and `test` permits of one agent have different keys, so
    /// that test permits do not count towards the live limit.
    #[must_use]
    pub fn new(agent: &str, environment: Option<&str>) -> Self {
        let environment = environment.unwrap_or_default();
        let hash = Sha256::new()
            .chain_update(Sha256::digest(environment))
            .chain_update(agent);
        Self(hash.finalize().into())
    }

    /// Returns the key of the agent that a permit was granted to.
    #[must_use]
    pub fn from_grant(grant: &PermitGrant) -> Self {
        Self::new(grant.agent.as_str(), grant.key_environment.as_deref())
    }

    /// Returns the key of the count of all agents together. `live` and `test` permits have a count
    /// each here, too.
    #[must_use]
    pub fn total(environment: Option<&str>) -> Self {
        // No agent has an empty name.
        Self::new("", environment)
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The counts that an unused permit is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PermitCounts {
    /// The count of the permit's agent.
    pub(crate) agent: AgentKey,
    /// The count of all agents. Unset for a permit that was granted without a limit for it.
    pub(crate) total: Option<AgentKey>,
}

impl PermitCounts {
    pub(crate) fn from_entry(entry: &PermitEntry) -> Self {
        let environment = entry.grant.key_environment.as_deref();
        Self {
            agent: AgentKey::from_grant(&entry.grant),
            total: entry.in_total.then(|| AgentKey::total(environment)),
        }
    }

    /// Returns the keys of the counts.
    pub(crate) fn keys(self) -> impl Iterator<Item = AgentKey> {
        [self.agent].into_iter().chain(self.total)
    }

    /// Returns the counts of a permit if a transaction that read `read` has not read all of them.
    pub(crate) fn missing_from(read: Option<Self>, entry: Option<&PermitEntry>) -> Option<Self> {
        let needed = Self::from_entry(entry?);
        let is_read = |read: Self| {
            read.agent == needed.agent && (needed.total.is_none() || read.total == needed.total)
        };
        (!read.is_some_and(is_read)).then_some(needed)
    }
}

/// The unused permits of one agent, or of all agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    /// The number of permits by the end of their slot, in seconds since 1970. Only the last number
    /// may be 0: the slot stays for [`expires_at`](Self::expires_at), so that a store does not
    /// delete and create the cell of an agent whose permits are used at once.
    slots: BTreeMap<i64, u64>,
}

impl Outstanding {
    /// Returns how many permits are unused at `now`.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> u64 {
        let open = self.slots.range(now.as_second() + 1..);
        open.map(|(_, count)| count).sum()
    }

    /// Returns whether the count is zero at every time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.values().all(|count| *count == 0)
    }

    /// Counts a permit that was issued.
    pub fn add(&mut self, entry: &PermitEntry, now: Timestamp) {
        while let Some(first) = self.slots.first_entry()
            && *first.key() <= now.as_second()
        {
            first.remove();
        }
        if let Some(last) = self.slots.last_entry()
            && *last.get() == 0
        {
            last.remove();
        }
        *self.slots.entry(slot(entry)).or_default() += 1;
    }

    /// Removes a permit that was used up or revoked from the count.
    pub fn remove(&mut self, entry: &PermitEntry) {
        let slot = slot(entry);
        let is_last = self
            .slots
            .last_key_value()
            .is_some_and(|(last, _)| *last == slot);
        if let Some(count) = self.slots.get_mut(&slot) {
            *count = count.saturating_sub(1);
            if *count == 0 && !is_last {
                self.slots.remove(&slot);
            }
        }
    }

    /// Returns when the last slot ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let last = self.slots.last_key_value().map_or(0, |(end, _)| *end);
        Timestamp::from_second(last).unwrap_or(Timestamp::MAX)
    }
}

/// Returns the end of the permit's slot. It follows from the permit alone, so a permit is added to
/// and removed from the same slot even if the authority's settings change in between.
fn slot(entry: &PermitEntry) -> i64 {
    let (start, end) = (entry.issued_at.as_second(), entry.expires_at.as_second());
    let length = (end.saturating_sub(start) / SLOTS).max(1);
    // The first multiple after the end, so that a permit never counts too short.
    (end.div_euclid(length) + 1).saturating_mul(length)
}

#[cfg(test)]
mod tests {
    use atlasent::wire::EvaluateRequest;
    use atlasent::{Agent, AnyAction};

    use super::*;

    const START: i64 = 1_767_268_800;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(START + seconds).unwrap()
    }

    fn permit(from: i64, life: i64) -> PermitEntry {
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let grant = PermitGrant::new(&request, None, "digest");
        PermitEntry::issue(grant, ("event", 1), at(from), at(from + life))
    }

    #[test]
    fn a_permit_counts_until_it_is_used_or_has_ended_and_never_shorter() {
        for life in [1, 7, 60, 3_600, 86_400, 31_536_000] {
            let mut outstanding = Outstanding::default();
            let permits: Vec<_> = (0..10).map(|n| permit(n, life)).collect();
            for (n, permit) in (0..).zip(&permits) {
                outstanding.add(permit, at(n));
            }
            for seconds in [9, life / 2, life - 1, life, life + 5] {
                let now = at(seconds.max(9));
                let waiting = permits.iter().filter(|permit| now < permit.expires_at);
                assert!(outstanding.count(now) >= waiting.count() as u64, "{life}");
            }
            // By a slot after the last one has ended, nothing counts.
            assert_eq!(
                outstanding.count(at(10 + life + life / SLOTS + 2)),
                0,
                "{life}"
            );
            for permit in &permits {
                outstanding.remove(permit);
            }
            assert!(outstanding.is_empty(), "{life}");
        }
    }

    #[test]
    fn an_agent_keeps_few_slots_however_many_permits_it_gets() {
        let mut outstanding = Outstanding::default();
        for second in 0..10_000 {
            outstanding.add(&permit(second, 3_600), at(second));
        }
        assert!(outstanding.slots.len() <= 66, "{}", outstanding.slots.len());
        let waiting = outstanding.count(at(10_000));
        assert!((3_599..=3_660).contains(&waiting), "{waiting}");
        assert!(outstanding.expires_at() >= at(9_999 + 3_600));
    }

    #[test]
    fn a_count_that_falls_to_zero_keeps_its_expiry_and_one_slot() {
        let mut outstanding = Outstanding::default();
        for second in (0..1_000).step_by(10) {
            let permit = permit(second, 300);
            outstanding.add(&permit, at(second));
            let expires_at = outstanding.expires_at();
            assert!(expires_at > permit.expires_at);
            outstanding.remove(&permit);
            assert_eq!(outstanding.expires_at(), expires_at);
            assert!(outstanding.is_empty());
            assert_eq!(outstanding.count(at(second)), 0);
            assert_eq!(outstanding.slots.len(), 1);
        }
        // The last permit is used before an earlier one.
        let [first, last] = [2_000, 2_100].map(|second| permit(second, 300));
        outstanding.add(&first, at(2_000));
        outstanding.add(&last, at(2_100));
        outstanding.remove(&last);
        assert_eq!(outstanding.count(at(2_100)), 1);
        outstanding.remove(&first);
        assert!(outstanding.is_empty());
        assert!(outstanding.expires_at() > last.expires_at);
    }

    #[test]
    fn test_permits_use_up_nothing_that_is_live() {
        let [live, test, none] =
            [Some("live"), Some("test"), None].map(|environment| AgentKey::new("bot", environment));
        assert!(live != test && live != none && test != none);
        assert_ne!(AgentKey::new("a", Some("b")), AgentKey::new("ba", None));
        let [live, test] = [Some("live"), Some("test")].map(AgentKey::total);
        assert_ne!(live, test);
    }

    #[test]
    fn a_permit_is_part_of_the_total_only_if_it_was_granted_under_a_limit() {
        let mut permit = permit(0, 60);
        let without = PermitCounts::from_entry(&permit);
        assert_eq!(without.keys().count(), 1);
        permit.in_total = true;
        let with = PermitCounts::from_entry(&permit);
        assert_eq!(
            with.keys().collect::<Vec<_>>(),
            [AgentKey::new("bot", None), AgentKey::total(None)]
        );
        let other = PermitCounts {
            agent: AgentKey::new("other", None),
            ..with
        };
        for read in [None, Some(without), Some(other)] {
            assert_eq!(PermitCounts::missing_from(read, Some(&permit)), Some(with));
        }
        assert_eq!(PermitCounts::missing_from(Some(with), Some(&permit)), None);
        permit.in_total = false;
        assert_eq!(PermitCounts::missing_from(Some(with), Some(&permit)), None);
        assert_eq!(PermitCounts::missing_from(None, None), None);
    }
}
