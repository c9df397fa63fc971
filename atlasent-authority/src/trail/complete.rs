//! Checks that a store still has the events that its chain counts, so that a trail with missing
//! events is never signed.

use std::sync::Arc;

use atlasent::audit::GENESIS_HASH;

use crate::store::{Store, StoreError, StoreStatus};
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;

/// Compares the events of an export with the head of the store's chain.
#[derive(Debug)]
pub(crate) struct Completeness {
    status: StoreStatus,
    filter: EventFilter,
    /// Whether the events have no gaps, as a filter by time leaves them.
    is_stretch: bool,
    first: Option<ChainLink>,
    last: Option<ChainLink>,
    gap: Option<Gap>,
}

/// The fields that tie an event to its neighbours.
#[derive(Clone, Debug)]
struct ChainLink {
    sequence: u64,
    hash: Arc<str>,
    previous_hash: Arc<str>,
}

/// The missing sequence numbers, from the first to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap(u64, u64);

impl Completeness {
    /// Starts a check of the events that pass `filter`, up to the head in `status`.
    pub(crate) fn new(status: StoreStatus, filter: EventFilter) -> Self {
        Self {
            status,
            is_stretch: filter.is_contiguous(),
            filter,
            first: None,
            last: None,
            gap: None,
        }
    }

    /// Starts a check of the first and the last event of the chain alone.
    pub(crate) fn for_ends(status: StoreStatus) -> Self {
        Self {
            is_stretch: false,
            ..Self::new(status, EventFilter::default())
        }
    }

    /// Checks the next event.
    pub(crate) fn push(&mut self, event: &SealedEvent) {
        let link = ChainLink::from(event);
        if let Some(last) = &self.last
            && self.is_stretch
            && event.sequence > last.sequence + 1
        {
            let gap = Gap(last.sequence + 1, event.sequence - 1);
            self.gap.get_or_insert(gap);
        }
        if self.first.is_none() {
            self.first = Some(link.clone());
        }
        self.last = Some(link);
    }

    /// Ends the check.
    ///
    /// # Errors
    ///
    /// [`StoreError::Incomplete`] when events are missing, or an end does not fit the chain;
    /// [`StoreError::Failed`] when events were dropped during the export, or the store cannot be
    /// read.
    pub(crate) async fn finish<S: Store>(&self, store: &S) -> Result<(), StoreError> {
        let missing = match self.gap {
            Some(gap) => Some(gap),
            None => self.missing(store).await?,
        };
        let Some(Gap(first, last)) = missing else {
            return Ok(());
        };
        // Retention may have dropped the events since the export began.
        if store.status().await?.dropped >= last {
            return Err(StoreError::failed(
                "events were dropped during the export: try again",
            ));
        }
        Err(StoreError::Incomplete(match first == last {
            true => format!("event {first} is missing"),
            false => format!("events {first} to {last} are missing"),
        }))
    }

    /// Returns the missing events: at the ends of the chain, and on both sides of the exported
    /// range.
    async fn missing<S: Store>(&self, store: &S) -> Result<Option<Gap>, StoreError> {
        let (dropped, head) = (self.status.dropped, &self.status.head);
        if head.sequence <= dropped {
            return Ok(None);
        }
        if let Some(gap) = self.missing_in_stretch(store).await? {
            return Ok(Some(gap));
        }
        let Some(first) = event_at(store, dropped + 1).await? else {
            return Ok(Some(Gap(dropped + 1, dropped + 1)));
        };
        if dropped == 0 && *first.previous_hash != *GENESIS_HASH {
            return Err(unlinked(1, "does not begin the chain"));
        }
        match event_at(store, head.sequence).await? {
            None => Ok(Some(Gap(head.sequence, head.sequence))),
            Some(last) if last.hash != head.hash => Err(unlinked(
                head.sequence,
                "does not have the hash of the chain's head",
            )),
            Some(_) => Ok(None),
        }
    }

    async fn missing_in_stretch<S: Store>(&self, store: &S) -> Result<Option<Gap>, StoreError> {
        let (dropped, head) = (self.status.dropped, &self.status.head);
        if !self.is_stretch {
            return Ok(None);
        }
        let (Some(first), Some(last)) = (&self.first, &self.last) else {
            return self.missing_before_next(store).await;
        };
        if first.sequence > dropped + 1 {
            let before = first.sequence - 1;
            match event_at(store, before).await? {
                None if self.filter.since.is_some() => return Ok(Some(Gap(before, before))),
                None => return Ok(Some(Gap(dropped + 1, before))),
                Some(event) if event.hash != first.previous_hash => {
                    return Err(unlinked(first.sequence, "does not follow the event before"));
                }
                // The event is before the range.
                Some(_) if self.filter.since.is_some() => {}
                Some(_) => return Ok(Some(Gap(before, before))),
            }
        }
        if last.sequence < head.sequence {
            let after = last.sequence + 1;
            match event_at(store, after).await? {
                None if self.filter.until.is_none() && self.filter.through.is_none() => {
                    return Ok(Some(Gap(after, head.sequence)));
                }
                None => return Ok(Some(Gap(after, after))),
                Some(event) if event.previous_hash != last.hash => {
                    return Err(unlinked(after, "does not follow the event before"));
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// The range is empty, so the first event after it must follow one from before it.
    async fn missing_before_next<S: Store>(&self, store: &S) -> Result<Option<Gap>, StoreError> {
        let behind = EventFilter {
            since: self.filter.until.clone(),
            ..EventFilter::default()
        };
        let next = match &behind.since {
            Some(_) => store.events(0, 1, &behind).await?.into_iter().next(),
            None => None,
        };
        let Some(before) = next.map(|next| next.sequence - 1) else {
            return Ok(None);
        };
        if before <= self.status.dropped || event_at(store, before).await?.is_some() {
            return Ok(None);
        }
        Ok(Some(Gap(before, before)))
    }
}

/// Returns the event with this sequence number, if the store has it.
pub(crate) async fn event_at<S: Store>(
    store: &S,
    sequence: u64,
) -> Result<Option<Arc<SealedEvent>>, StoreError> {
    let Some(before) = sequence.checked_sub(1) else {
        return Ok(None);
    };
    let only = EventFilter::default().through(sequence);
    let events = store.events(before, 1, &only).await?;
    Ok(events.into_iter().find(|event| event.sequence == sequence))
}

fn unlinked(sequence: u64, what: &str) -> StoreError {
    StoreError::Incomplete(format!("event {sequence} {what}"))
}

impl From<&SealedEvent> for ChainLink {
    fn from(event: &SealedEvent) -> Self {
        Self {
            sequence: event.sequence,
            hash: Arc::clone(&event.hash),
            previous_hash: Arc::clone(&event.previous_hash),
        }
    }
}
