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

/// How long a decision is due before a request ends it. A server ends it earlier, by itself.
const OVERDUE: SignedDuration = SignedDuration::from_secs(1);

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

    /// Returns whether a decision may be due.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let now = now.as_microsecond();
        let times = [&self.look, &self.first];
        times.iter().any(|time| time.load(Ordering::Relaxed) <= now)
            || self.policies_changed.load(Ordering::Relaxed)
    }

    /// Returns whether a decision is due that a server would have ended by now. Is `false` for a
    /// second after each look, so that requests look no more often than a server.
    fn is_overdue(&self, now: Timestamp) -> bool {
        let noted = self.noted.load(Ordering::Relaxed);
        let first = match self.first.load(Ordering::Relaxed) {
            // It is unknown before the store was read.
            i64::MIN => noted,
            first => first.min(noted),
        };
        let due_before = now.saturating_sub(OVERDUE).unwrap_or(Timestamp::MIN);
        let looks_before = now.saturating_add(LOOK_AGAIN - OVERDUE);
        let looks_before = looks_before.unwrap_or(Timestamp::MAX);
        first <= due_before.as_microsecond()
            && self.look.load(Ordering::Relaxed) <= looks_before.as_microsecond()
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
    /// expiry, and wakes those who wait. The server calls it each second. Without a server, requests
    /// that the policies hold do so for decisions that have been due for a second.
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

    /// Ends the decisions that have been due for a second. Requests that open a decision call this:
    /// without a server, nothing else ends them, and they count as open until then.
    pub(in crate::local) async fn end_overdue_approvals(&self) -> Result<(), Error> {
        match self.due.is_overdue(self.clock.now()) {
            true => self.expire_due_approvals().await,
            false => Ok(()),
        }
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

    #[test]
    fn a_decision_is_overdue_a_second_after_its_time_and_looks_are_a_second_apart() {
        let due = Due::default();
        assert!(!due.is_overdue(at(1_000)), "no decision is known");
        due.sooner(at(30));
        assert!(!due.is_overdue(at(30)) && due.is_overdue(at(31)));
        due.start(at(31));
        due.sooner(at(29));
        assert!(!due.is_overdue(at(31)) && due.is_overdue(at(32)));
        // One that the store shows, where none was opened since the last two looks.
        due.start(at(39));
        due.start(at(40));
        let mut row = crate::store::approvals::example(1);
        row.timeout_at = at(50);
        due.found(&row);
        assert!(!due.is_overdue(at(50)) && due.is_overdue(at(51)));
        due.again();
        assert!(due.is_overdue(at(51)));
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
