//! Retention: old events are moved from the store into a signed bundle. The rest still verifies.

use std::io;

use atlasent::Error;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::local::{LocalAuthority, commit, failed, unavailable};
use crate::signing::KeyRing;
use crate::store::{Changeset, Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::chain::NewEvent;
use crate::trail::export::{Bundle, export};

/// The result of archiving events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The sequence number of the first event in the bundle.
    pub first: u64,
    /// The sequence number of the last event in the bundle. The first event that stays names its
    /// hash as the previous one.
    pub last: u64,
    /// The hash of the last event in the bundle, from which the rest of the chain continues.
    pub checkpoint: String,
    /// The bundle's id.
    pub export_id: String,
}

impl<S: Store> LocalAuthority<S> {
    /// Removes all events before a time from the store, once `keep` has kept their bundle durably.
    /// Returns `None` when there are no such events, or when another process has archived some of
    /// them meanwhile.
    ///
    /// The chain records the removal (`audit.archived`) in the transaction that drops the events.
    /// If two processes on one store archive at the same time, both may get a bundle. The events
    /// are dropped once, and the chain names one bundle.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use atlasent_authority::signing::KeyRing;
    /// use atlasent_authority::{LocalAuthority, Policies};
    ///
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let keys = KeyRing::in_memory()?;
    /// let mut kept = tempfile::NamedTempFile::new()?;
    /// let archived = authority
    ///     .archive("9999-01-01T00:00:00Z".parse()?, &keys, |first, last, bundle| {
    ///         std::io::copy(bundle, &mut kept)?;
    ///         kept.as_file().sync_all()
    ///     })
    ///     .await?
    ///     .unwrap();
    /// assert_eq!((archived.first, archived.last), (1, 1));
    ///
    /// let rest = authority.trail().await?;
    /// assert_eq!(rest.events[0].previous_hash, archived.checkpoint);
    /// assert!(rest.verify().is_intact());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the events cannot be read, the bundle was not kept, or the removal
    /// cannot be recorded. No event is dropped then.
    pub async fn archive(
        &self,
        before: Timestamp,
        keys: &KeyRing,
        keep: impl FnOnce(u64, u64, &mut Bundle) -> io::Result<()>,
    ) -> Result<Option<Archived>, Error> {
        let collected = collect_old(&*self.store, &*self.clock, before, None, keys).await?;
        let Some(mut old) = collected else {
            return Ok(None);
        };
        keep(old.first, old.last, &mut old.bundle).map_err(not_kept)?;
        drop_old(&*self.store, &*self.clock, &old).await
    }
}

/// Bundles the events before a time, and up to a sequence number if `through` is set. Returns
/// `None` without such events, and when another process drops events meanwhile: it archives them.
pub(crate) async fn collect_old<S: Store>(
    store: &S,
    clock: &dyn Clock,
    before: Timestamp,
    through: Option<u64>,
    keys: &KeyRing,
) -> Result<Option<OldEvents>, Error> {
    let Ok(last_moment) = before.checked_sub(jiff::SignedDuration::from_micros(1)) else {
        return Ok(None);
    };
    let old = EventFilter::default()
        .until(last_moment)
        .through(through.unwrap_or(u64::MAX));
    let dropped = store.status().await.map_err(unarchived)?.dropped;
    let collected = collect_after(store, clock, dropped, old, keys).await;
    if collected.is_err()
        && let Ok(status) = store.status().await
        && status.dropped > dropped
    {
        log_overtaken(dropped + 1);
        return Ok(None);
    }
    collected
}

/// Bundles the events that a filter selects, which follow those that were dropped.
async fn collect_after<S: Store>(
    store: &S,
    clock: &dyn Clock,
    dropped: u64,
    old: EventFilter,
    keys: &KeyRing,
) -> Result<Option<OldEvents>, Error> {
    // The chain has no gaps, and its time never runs backwards, so the old events are at its
    // beginning.
    let count = store.count_events(&old).await.map_err(unarchived)?;
    if count == 0 {
        return Ok(None);
    }
    let (first, last) = (dropped + 1, dropped + count);
    let bundle = export(store, &old.through(last), keys, clock).await;
    let bundle = bundle.map_err(|error| unavailable(failed::EXPORT, error))?;
    if bundle.event_count() != count {
        return Err(not_kept(io::Error::other(
            "the number of events changed while they were read",
        )));
    }
    Ok(Some(OldEvents {
        first,
        last,
        bundle,
    }))
}

/// Drops events whose bundle is kept. The store hides them at once, whatever their number, and
/// frees their space gradually. Returns `None` and records nothing when another process has dropped
/// some of the events meanwhile: its bundle has them.
pub(crate) async fn drop_old<S: Store>(
    store: &S,
    clock: &dyn Clock,
    old: &OldEvents,
) -> Result<Option<Archived>, Error> {
    let (first, last) = (old.first, old.last);
    let archived = Archived {
        first,
        last,
        checkpoint: old.bundle.chain_head_hash().to_owned(),
        export_id: old.bundle.export_id().to_owned(),
    };
    let event = NewEvent::new("audit.archived")
        .with("first_sequence", first)
        .with("last_sequence", last)
        .with("checkpoint", archived.checkpoint.clone())
        .with("export_id", archived.export_id.clone());
    let change = move |changeset: &mut Changeset<'_>| {
        if changeset.dropped_through() >= first {
            return false;
        }
        changeset.record(event);
        changeset.drop_events(last);
        true
    };
    let is_dropped = commit(store, clock, failed::ARCHIVE, Vec::new(), change).await?;
    if !is_dropped {
        log_overtaken(first);
    }
    Ok(is_dropped.then_some(archived))
}

fn log_overtaken(first: u64) {
    tracing::debug!(target: "atlasent", first, "another process has archived the old events meanwhile");
}

/// Old events in their bundle, which are still in the store.
pub(crate) struct OldEvents {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bundle: Bundle,
}

/// The error for a bundle that was not kept. Its events stay in the store.
pub(crate) fn not_kept(error: io::Error) -> Error {
    unarchived(StoreError::failed(error))
}

fn unarchived(error: StoreError) -> Error {
    unavailable(failed::ARCHIVE, error)
}
