//! Ending the permits that a stop or a recall has killed.
//!
//! No killed permit can be used, so nothing depends on ending it. Until it is ended, though, it
//! counts against the limits of unused permits and against budgets.

use atlasent::Error;

use super::permit_cells::PermitCells;
use super::{LocalAuthority, failed, unavailable};
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::PermitKey;
use crate::store::{CellKey, Changeset, Store};

/// How many permits are read and ended at once.
const AT_ONCE: usize = 500;

/// How many of the newest permits are looked at. The others count until they expire.
const MOST: usize = 10_000;

impl<S: Store> LocalAuthority<S> {
    /// Ends the unused permits that stops and recalls have killed. A failure is logged only, since
    /// the stop is in effect already.
    pub(super) async fn end_killed_permits(&self) {
        if let Err(error) = self.try_to_end_killed_permits().await {
            tracing::warn!(
                target: "atlasent",
                %error,
                "permits that a stop or a revocation ended still count until they expire"
            );
        }
    }

    async fn try_to_end_killed_permits(&self) -> Result<(), Error> {
        let (context, mut before) = (self.status_context().await?, u64::MAX);
        for _ in 0..MOST / AT_ONCE {
            let page = self.store.permits(before, AT_ONCE).await;
            let page = page.map_err(|error| unavailable(failed::PERMIT, error))?;
            let Some((_, oldest)) = page.last() else {
                return Ok(());
            };
            before = oldest.sequence;
            // The list goes from the newest permit to the oldest, so the rest has expired, too.
            let is_last = page.len() < AT_ONCE
                || page
                    .iter()
                    .all(|(_, entry)| context.now >= entry.expires_at);
            let killed = page
                .into_iter()
                .filter(|(_, entry)| context.is_killed(entry));
            let killed: Vec<_> = killed.collect();
            if !killed.is_empty() {
                self.end_killed(&killed).await?;
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends these permits in one transaction, unless they are used or revoked meanwhile.
    async fn end_killed(&self, permits: &[(PermitKey, PermitEntry)]) -> Result<(), Error> {
        let mut reads = vec![CellKey::Stops];
        for (key, entry) in permits {
            reads.push(CellKey::Permit(*key));
            let cells = PermitCells::default().missing_from(Some(entry));
            reads.extend(cells.iter().flat_map(PermitCells::keys));
        }
        let keys: Vec<PermitKey> = permits.iter().map(|(key, _)| *key).collect();
        let end = move |changeset: &mut Changeset<'_>| {
            let (now, stops) = (changeset.time(), changeset.stops());
            for key in keys {
                let Some(mut entry) = changeset.permit(key).cloned() else {
                    continue;
                };
                let before = entry.state;
                let killed = stops.kill_cause(&entry, now);
                if killed.is_some_and(|killed| !entry.is_spent() && entry.kill(killed, now)) {
                    changeset.keep_ended(key, entry, Some(before));
                }
            }
        };
        self.commit(failed::REVOCATION, reads, end).await
    }
}
