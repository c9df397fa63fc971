//! When the next pending decision expires, so that the store is read only then.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use atlasent::Error;
use jiff::{SignedDuration, Timestamp};

use crate::ledger::approval::ApprovalEntry;
use crate::local::caller::Caller;
use crate::local::{LocalAuthority, approvals::AT_ONCE};
use crate::store::{ApprovalList, Store};

/// How often the open decisions are read although none is due here: another process may have opened
/// some, and stopped since.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// When the open decisions are read next. The times are microseconds since 1970.
///
/// A worked example. A decision that expires at 12:30 is opened at 12:00:
///
/// ```text
/// 12:00:00   opened             first 12:30, noted 12:30
/// 12:00:40   the store is read  first 12:30, noted unset: a decision that is being opened is kept,
///                               although the store may not show it yet
/// 12:01:40   read again         first 12:30, from the store
/// 12:30:00   first is over      the decision is read, and ends
/// ```
#[derive(Debug)]
pub(crate) struct Due {
    /// When the store is read although no known decision is due.
    look: AtomicI64,
    /// When the first open decision expires. [`NEVER`] without one.
    first: AtomicI64,
    /// When the first of those expires that were opened here since the store was read last.
    noted: AtomicI64,
    /// Whether other policies came into force since the store was read last.
    policies_changed: AtomicBool,
}

/// The time of no decision.
const NEVER: i64 = i64::MAX;

impl Default for Due {
    /// Is due at once, since the store may hold due decisions, and some of other policies.
    fn default() -> Self {
        Self {
            look: AtomicI64::new(i64::MIN),
            first: AtomicI64::new(i64::MIN),
            noted: AtomicI64::new(NEVER),
            policies_changed: AtomicBool::new(true),
        }
    }
}

impl Due {
    /// Notes that a decision expires at this time.
    pub(super) fn sooner(&self, time: Timestamp) {
        let time = time.as_microsecond();
        self.noted.fetch_min(time, Ordering::Relaxed);
        self.first.fetch_min(time, Ordering::Relaxed);
    }

    /// Notes that other policies came into force, which ends decisions of the former ones.
    pub(in crate::local) fn policies_changed(&self) {
        self.policies_changed.store(true, Ordering::Relaxed);
    }

    /// Returns when the first open decision expires, as far as this process knows. `None` if no
    /// decision is open. The earliest time of all if that is unknown.
    #[cfg(feature = "server")]
    pub(crate) fn first(&self) -> Option<Timestamp> {
        let first = self.first.load(Ordering::Relaxed);
        let first = first.min(self.noted.load(Ordering::Relaxed));
        let is_known = self.look.load(Ordering::Relaxed) > i64::MIN
            && !self.policies_changed.load(Ordering::Relaxed);
        match first {
            _ if !is_known => Some(Timestamp::MIN),
            NEVER => None,
            first => Some(Timestamp::from_microsecond(first).unwrap_or(Timestamp::MIN)),
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let now = now.as_microsecond();
        let times = [&self.look, &self.first];
        times.iter().any(|time| time.load(Ordering::Relaxed) <= now)
            || self.policies_changed.load(Ordering::Relaxed)
    }

    /// Starts to read the store. Returns whether the policies changed since it was read last.
    fn start(&self, now: Timestamp) -> bool {
        let next = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        self.look.store(next.as_microsecond(), Ordering::Relaxed);
        let noted = self.noted.swap(NEVER, Ordering::Relaxed);
        self.first.store(noted, Ordering::Relaxed);
        self.policies_changed.swap(false, Ordering::Relaxed)
    }

    /// Notes the time of a decision that is open in the store.
    fn found(&self, row: &ApprovalEntry) {
        let time = row.timeout_at.as_microsecond();
        self.first.fetch_min(time, Ordering::Relaxed);
    }

    /// Makes everything due again: the store could not be read to its end.
    fn again(&self) {
        self.look.store(i64::MIN, Ordering::Relaxed);
        self.policies_changed();
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Escalates or ends each open decision whose time is over, and ends those that other policies
    /// have held than those in force. Does nothing, and does not read the store, while there can be
    /// none.
    ///
    /// Such a decision never releases anything, whether this was called or not: this records the
    /// expiry, and wakes those who wait. The server calls it each second.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the decisions cannot be read or changed.
    pub async fn expire_due_approvals(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if !self.due.is_over(now) {
            return Ok(());
        }
        let has_changed = self.due.start(now);
        let expired = self.expire_all(now, has_changed).await;
        if expired.is_err() {
            self.due.again();
        }
        expired
    }

    async fn expire_all(&self, now: Timestamp, has_changed: bool) -> Result<(), Error> {
        let caller = Caller::embedded(&self.secret);
        let mut before = u64::MAX;
        loop {
            let rows = self.approvals(ApprovalList::Open, before, AT_ONCE).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            before = last.sequence;
            for row in rows {
                let is_over = now >= row.timeout_at || has_changed && self.policies.ended(&row);
                let row = match is_over {
                    false => Some(row),
                    true => self.approval_for(&caller, row.id).await?,
                };
                if let Some(row) = row.filter(ApprovalEntry::is_open) {
                    self.due.found(&row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_decision_that_the_store_does_not_show_yet_stays_due() {
        let due = Due::default();
        assert!(due.is_over(at(0)) && due.start(at(0)));
        assert!(!due.is_over(at(0)));
        due.sooner(at(30));
        assert!(!due.start(at(1)), "the policies stayed");
        assert!(!due.is_over(at(29)) && due.is_over(at(30)));
        // The store was read once more, and did not show it.
        due.start(at(30));
        assert!(!due.is_over(at(89)) && due.is_over(at(90)));
    }

    #[cfg(feature = "server")]
    #[test]
    fn the_first_time_is_unknown_until_the_store_was_read_to_its_end() {
        let due = Due::default();
        assert_eq!(due.first(), Some(Timestamp::MIN));
        due.start(at(0));
        assert_eq!(due.first(), None);
        due.sooner(at(30));
        due.sooner(at(50));
        due.start(at(1));
        assert_eq!(due.first(), Some(at(30)));
        due.again();
        assert_eq!(due.first(), Some(Timestamp::MIN));
        due.start(at(2));
        due.policies_changed();
        assert_eq!(due.first(), Some(Timestamp::MIN));
    }
}
