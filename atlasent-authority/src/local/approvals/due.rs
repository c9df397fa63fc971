//! When the next pending decision expires, so that the store is read only then.

use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::Error;
use jiff::{SignedDuration, Timestamp};

use crate::ledger::approval::ApprovalEntry;
use crate::local::caller::Caller;
use crate::local::{LocalAuthority, approvals::AT_ONCE};
use crate::store::{ApprovalList, Store};

/// How often the open decisions are read although none is due here: another process may have opened
/// some, and stopped since.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// When the next pending decision may expire, in microseconds since 1970. A new value is due at
/// once, since the store may hold due decisions.
#[derive(Debug)]
pub(crate) struct Due(AtomicI64);

impl Default for Due {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Due {
    /// Notes that a decision expires at this time.
    pub(super) fn sooner(&self, time: Timestamp) {
        self.0.fetch_min(time.as_microsecond(), Ordering::Relaxed);
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.0.load(Ordering::Relaxed) <= now.as_microsecond()
    }

    fn set(&self, time: Timestamp) {
        self.0.store(time.as_microsecond(), Ordering::Relaxed);
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Escalates or ends each open decision whose time is over. Does nothing, and does not read the
    /// store, while none can be due.
    ///
    /// A decision whose time is over never releases anything, whether this was called or not: this
    /// records the expiry, and wakes those who wait. The server calls it each second.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the decisions cannot be read or changed.
    pub async fn expire_due_approvals(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if !self.due.is_over(now) {
            return Ok(());
        }
        // Decisions that are opened meanwhile make it sooner again.
        self.due
            .set(now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
        let expired = self.expire_all(now).await;
        if expired.is_err() {
            self.due.sooner(now);
        }
        expired
    }

    async fn expire_all(&self, now: Timestamp) -> Result<(), Error> {
        let caller = Caller::embedded(&self.secret);
        let mut before = u64::MAX;
        loop {
            let rows = self.approvals(ApprovalList::Open, before, AT_ONCE).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            before = last.sequence;
            for row in rows {
                let row = match now < row.timeout_at {
                    true => Some(row),
                    false => self.approval_for(&caller, row.id).await?,
                };
                if let Some(row) = row.filter(ApprovalEntry::is_open) {
                    self.due.sooner(row.timeout_at);
                }
            }
        }
    }
}
