//! What is used up of a budget: by permits that were used, and by those that still can be.
//!
//! A permit takes its amount when it is issued. The amount is *reserved* until the permit is used,
//! revoked or expires, and then *spent* for the length of the budget's window, or given back.
//! Expiry is no change of the store, so a reservation ends by itself with its permit:
//!
//! ```text
//! budget: 100/hour, permits for 5 minutes
//! 12:00  issue P (60)    reserved 60, spent 0     left 40
//! 12:01  issue Q (40)    reserved 100, spent 0    left 0
//! 12:02  use P           reserved 40, spent 60    left 0
//! 12:06  Q has expired   reserved 0, spent 60     left 40
//! 13:02  P leaves        reserved 0, spent 0      left 100
//! ```
//!
//! Using a permit moves its amount, so what is left only falls when a permit is issued. All amounts
//! used within any window were spent or reserved together at some time, so they never exceed the
//! limit.
//!
//! Amounts are added up in at most some 64 slots a window and a permit's life, and a slot ends when
//! the last amount in it does: up to a 64th later than the first. A cell therefore stays small, and
//! ends with its last slot.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base16ct::lower;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::ledger::{PermitEntry, PermitState};

/// How many slots a window, or a permit's life, has.
const SLOTS: i64 = 64;

/// The key of what is used up of a budget: a digest, since names have any length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetKey([u8; 32]);

impl BudgetKey {
    /// Returns the key of a budget that these texts tell apart from all others.
    #[must_use]
    pub fn new(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(Sha256::digest(part));
        }
        Self(hash.finalize().into())
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BudgetKey({})", lower::encode_string(&self.0))
    }
}

impl Serialize for BudgetKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&lower::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for BudgetKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let mut key = [0; 32];
        let decoded = lower::decode(&text, &mut key).map(<[u8]>::len);
        match decoded {
            Ok(32) => Ok(Self(key)),
            _ => Err(de::Error::custom("a budget's key is 64 hex digits")),
        }
    }
}

/// What a permit takes from one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The budget.
    pub key: BudgetKey,
    /// The amount, in ten-thousandths.
    pub amount: u64,
    /// The length of the budget's window in seconds.
    pub window: u32,
}

/// The amounts of one budget that are reserved or spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUse {
    /// The amounts of unused permits by the end of their slot, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reserved: BTreeMap<i64, u64>,
    /// The amounts of used permits by the end of their slot, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    spent: BTreeMap<i64, u64>,
}

impl BudgetUse {
    /// Returns how much is reserved or spent at `now`.
    #[must_use]
    pub fn used(&self, now: Timestamp) -> u64 {
        let open = (self.open_slots(now)).map(|(_, amount)| amount);
        open.fold(0, u64::saturating_add)
    }

    /// Returns when the first of the amounts at `now` ends, and when the last one does. `None` if
    /// nothing is used up.
    #[must_use]
    pub fn ends(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let ends = || self.open_slots(now).map(|(end, _)| end);
        let time = |end| Timestamp::from_millisecond(end).unwrap_or(Timestamp::MAX);
        Some((time(ends().min()?), time(ends().max()?)))
    }

    /// Returns how long `amount` has to wait until it fits into `limit`. `None` if it never does.
    #[must_use]
    pub fn wait(&self, amount: u64, limit: u64, now: Timestamp) -> Option<Duration> {
        let room = limit.checked_sub(amount)?;
        let mut used = self.used(now);
        if used <= room {
            return Some(Duration::ZERO);
        }
        let mut ends: Vec<_> = self.open_slots(now).collect();
        ends.sort_unstable();
        for (end, amount) in ends {
            used = used.saturating_sub(amount);
            if used <= room {
                let wait = end.saturating_sub(now.as_millisecond());
                return Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)));
            }
        }
        None
    }

    fn open_slots(&self, now: Timestamp) -> impl Iterator<Item = (i64, u64)> {
        let after = now.as_millisecond().saturating_add(1);
        let slots = [&self.reserved, &self.spent].into_iter();
        slots.flat_map(move |slots| slots.range(after..).map(|(end, amount)| (*end, *amount)))
    }

    /// Reserves the amount of a permit that is issued at `now`. Forgets slots that have ended.
    pub fn reserve(&mut self, charge: &Charge, permit: &PermitEntry, now: Timestamp) {
        let after = now.as_millisecond().saturating_add(1);
        self.reserved = self.reserved.split_off(&after);
        self.spent = self.spent.split_off(&after);
        add(&mut self.reserved, reservation_end(permit), charge.amount);
    }

    /// Ends the reservation of a permit that was unused before: spends the amount from `now` on if
    /// the permit was used, and gives it back otherwise.
    pub fn settle(&mut self, charge: &Charge, permit: &PermitEntry, now: Timestamp) {
        let end = reservation_end(permit);
        if let Some(reserved) = self.reserved.get_mut(&end) {
            *reserved = reserved.saturating_sub(charge.amount);
            if *reserved == 0 {
                self.reserved.remove(&end);
            }
        }
        // No body runs under a burnt permit.
        if permit.state == PermitState::Consumed && !permit.burnt {
            let window = SignedDuration::from_secs(i64::from(charge.window));
            let leaves = now.saturating_add(window).unwrap_or(Timestamp::MAX);
            add(&mut self.spent, slot_end(leaves, window), charge.amount);
        }
    }

    /// Returns when the last slot ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let last = [&self.reserved, &self.spent].map(|slots| slots.last_key_value());
        let last = last.into_iter().flatten().map(|(end, _)| *end).max();
        Timestamp::from_millisecond(last.unwrap_or(0)).unwrap_or(Timestamp::MAX)
    }
}

fn add(slots: &mut BTreeMap<i64, u64>, end: i64, amount: u64) {
    let sum = slots.entry(end).or_default();
    *sum = sum.saturating_add(amount);
}

/// Returns the end of the slot of a permit's reservation. It follows from the permit alone.
fn reservation_end(permit: &PermitEntry) -> i64 {
    slot_end(
        permit.expires_at,
        permit.expires_at.duration_since(permit.issued_at),
    )
}

/// Returns the end of the slot that contains `end`, of a time of this length. It is after `end`, so
/// that an amount never counts too short.
fn slot_end(end: Timestamp, length: SignedDuration) -> i64 {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    let slot = (length / SLOTS).max(1);
    (end.as_millisecond().div_euclid(slot).saturating_add(1)).saturating_mul(slot)
}

#[cfg(test)]
mod tests {
    use atlasent::wire::{EvaluateRequest, VerifyRequest};
    use atlasent::{Agent, AnyAction};
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::PermitGrant;

    const START: i64 = 1_767_268_800_000;
    const LIFE: i64 = 300_000;
    const LIMIT: u64 = 1_000;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(START + milliseconds).unwrap()
    }

    fn charge(amount: u64, window: u32) -> Charge {
        let key = BudgetKey::new(&["pay"]);
        Charge {
            key,
            amount,
            window,
        }
    }

    fn permit(from: i64) -> PermitEntry {
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let grant = PermitGrant::new(&request, None, "digest");
        PermitEntry::issue(grant, ("event", 1), at(from), at(from + LIFE))
    }

    fn used(permit: &PermitEntry, now: i64) -> PermitEntry {
        let token = atlasent::wire::PermitToken::new("permit_x").unwrap();
        let mut permit = permit.clone();
        permit.consume(&VerifyRequest::new(token), at(now)).unwrap();
        permit
    }

    #[test]
    fn the_amounts_of_the_worked_example_are_right() {
        let (hour, minute) = (3_600, 60_000);
        let mut budget = BudgetUse::default();
        let (p, q) = (permit(0), permit(minute));
        budget.reserve(&charge(60, hour), &p, at(0));
        budget.reserve(&charge(40, hour), &q, at(minute));
        assert_eq!(budget.used(at(minute)), 100);
        budget.settle(&charge(60, hour), &used(&p, 2 * minute), at(2 * minute));
        assert_eq!(budget.used(at(2 * minute)), 100);
        assert_eq!(budget.used(at(6 * minute - 1)), 100);
        assert_eq!(budget.used(at(6 * minute + LIFE / SLOTS)), 60);
        assert_eq!(budget.used(at(62 * minute - 1)), 60);
        assert_eq!(budget.used(at(62 * minute + 60 * minute / SLOTS)), 0);
        assert!(budget.expires_at() > at(62 * minute));
        assert!(budget.expires_at() <= at(62 * minute + 60 * minute / SLOTS));
    }

    #[test]
    fn a_revoked_or_burnt_permit_gives_its_amount_back_at_once() {
        let mut revoked = permit(0);
        revoked.revoke(at(1), None, "why");
        let mut burnt = used(&permit(0), 1);
        burnt.burnt = true;
        for ended in [revoked, burnt] {
            let mut budget = BudgetUse::default();
            budget.reserve(&charge(60, 3_600), &permit(0), at(0));
            budget.settle(&charge(60, 3_600), &ended, at(1));
            assert_eq!(budget, BudgetUse::default());
        }
    }

    #[test]
    fn the_wait_is_as_long_as_the_amount_does_not_fit() {
        let mut budget = BudgetUse::default();
        for (n, amount) in [(0, 400), (1, 500), (2, 100)] {
            let permit = permit(n * 60_000);
            budget.reserve(&charge(amount, 60), &permit, at(n * 60_000));
        }
        let now = at(120_000);
        for amount in [1, 400, 401, 900, 901, 1_000] {
            let wait = budget.wait(amount, LIMIT, now).unwrap();
            let wait = i64::try_from(wait.as_millis()).unwrap();
            assert!(
                budget.used(at(120_000 + wait)) + amount <= LIMIT,
                "{amount}"
            );
            assert!(
                budget.used(at(120_000 + wait - 1)) + amount > LIMIT,
                "{amount}"
            );
        }
        assert_eq!(budget.wait(1_001, LIMIT, now), None);
        assert_eq!(
            BudgetUse::default().wait(1, LIMIT, now),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn a_key_and_a_cell_are_written_and_read_again() {
        let mut budget = BudgetUse::default();
        budget.reserve(&charge(60, 3_600), &permit(0), at(0));
        let text = serde_json::to_string(&budget).unwrap();
        assert_eq!(serde_json::from_str::<BudgetUse>(&text).unwrap(), budget);
        let charge = charge(1, 2);
        let text = serde_json::to_string(&charge).unwrap();
        assert_eq!(serde_json::from_str::<Charge>(&text).unwrap(), charge);
        for key in [r#""""#, r#""aa""#, r#"7"#] {
            assert!(serde_json::from_str::<BudgetKey>(key).is_err(), "{key}");
        }
        assert_ne!(BudgetKey::new(&["a", "b"]), BudgetKey::new(&["ab", ""]));
    }

    proptest! {
        /// Each step is some time, an amount to ask for, and what becomes of an earlier permit.
        #[test]
        fn what_is_used_in_a_window_never_exceeds_the_limit_and_slots_stay_few(
            window in prop_oneof![Just(1u32), Just(60), Just(3_600)],
            steps in proptest::collection::vec((0i64..40_000, 0u64..600, 0usize..8, 0u8..3), 1..200),
        ) {
            let (mut budget, mut now) = (BudgetUse::default(), 0);
            let mut open: Vec<(PermitEntry, Charge)> = Vec::new();
            let mut run: Vec<(i64, u64)> = Vec::new();
            for (wait, amount, place, fate) in steps {
                now += wait;
                let length = i64::from(window) * 1_000;
                if budget.used(at(now)) + amount <= LIMIT {
                    let (charge, permit) = (charge(amount, window), permit(now));
                    budget.reserve(&charge, &permit, at(now));
                    open.push((permit, charge));
                } else {
                    // Only what is unused, or was used lately, can be in the way.
                    let waiting = open.iter().filter(|(permit, _)| at(now - LIFE / SLOTS - 1) < permit.expires_at);
                    let waiting: u64 = waiting.map(|(_, charge)| charge.amount).sum();
                    let lately = run.iter().filter(|(end, _)| now <= end + length + length / SLOTS + 1);
                    let lately: u64 = lately.map(|(_, amount)| amount).sum();
                    prop_assert!(waiting + lately + amount > LIMIT);
                }
                if !open.is_empty() && fate > 0 {
                    let (permit, charge) = open.remove(place % open.len());
                    if at(now) < permit.expires_at {
                        if fate == 1 {
                            run.push((now, charge.amount));
                            budget.settle(&charge, &used(&permit, now), at(now));
                        } else {
                            let mut permit = permit;
                            permit.revoke(at(now), None, "why");
                            budget.settle(&charge, &permit, at(now));
                        }
                    }
                }
                let in_window = run.iter().filter(|(at, _)| now - at < length);
                prop_assert!(in_window.map(|(_, amount)| amount).sum::<u64>() <= LIMIT);
                prop_assert!(budget.reserved.len() <= 80 && budget.spent.len() <= 80);
            }
        }
    }
}
