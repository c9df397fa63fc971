//! The events of [`MemoryStore`](super::MemoryStore), with the index that filters use.
//!
//! The newest events are as they were sealed. The caller of a change packs some older ones, without
//! the store's lock, and reads unpack them, also without it:
//!
//! ```text
//! under the lock      push(8), next_to_pack() → [1, 2, 3, 4]
//! without it          PackedEvent::new(1) …
//! under the lock      put_packed([1, 2, 3, 4])      packed: 1 2 3 4   fresh: 5 6 7 8
//! ```

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use base16ct::lower;

use super::packed::Packed;
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;
use crate::trail::filter::EventCollector;

/// How many events are packed at a time.
const AT_A_TIME: usize = 16;

/// How many events stay as they were sealed, at least.
const FRESH: usize = 64;

/// A SHA-256.
type Hash = [u8; 32];

/// Events in the order of their sequence numbers, without gaps.
#[derive(Debug, Default)]
pub(super) struct EventList {
    packed: VecDeque<PackedEvent>,
    /// The events after the packed ones.
    fresh: VecDeque<Arc<SealedEvent>>,
    /// Whether a caller packs the oldest of the fresh events.
    is_packing: bool,
    /// The hash of the event before the oldest one, which was removed last. It is all zeros if no
    /// event was removed.
    removed: Hash,
    /// The sequence numbers of the events by type and agent. An event is filed under its type, and
    /// if it has an agent, also under the agent and under both. An empty text stands for any type
    /// or agent.
    places: HashMap<Cow<'static, str>, HashMap<Arc<str>, VecDeque<u64>>>,
}

/// An event in few bytes. The hash of the event before it is stored with that event alone.
#[derive(Clone, Debug)]
pub(super) struct PackedEvent {
    sequence: u64,
    kind: Cow<'static, str>,
    /// The agent. All events of an agent share its name with the index.
    actor: Option<Arc<str>>,
    payload: Packed,
    hash: Hash,
}

/// An event that was found, to be read without the lock.
pub(super) enum FoundEvent {
    Fresh(Arc<SealedEvent>),
    /// The event, and the hash of the one before.
    Packed(PackedEvent, Hash),
}

impl EventList {
    pub(super) fn len(&self) -> usize {
        self.packed.len() + self.fresh.len()
    }

    /// Returns the sequence number of the oldest event.
    pub(super) fn first(&self) -> Option<u64> {
        let packed = self.packed.front().map(|event| event.sequence);
        packed.or_else(|| self.fresh.front().map(|event| event.sequence))
    }

    pub(super) fn push(&mut self, event: Arc<SealedEvent>) {
        let sequence = event.sequence;
        let actor = event.actor_id.as_deref();
        for (kind, actor) in keys(&event.kind, actor) {
            let of_kind = match self.places.get_mut(kind) {
                Some(known) => known,
                None if kind.is_empty() => self.places.entry(Cow::Borrowed("")).or_default(),
                None => self.places.entry(event.kind.clone()).or_default(),
            };
            match of_kind.get_mut(actor) {
                Some(places) => places.push_back(sequence),
                None => drop(of_kind.insert(actor.into(), VecDeque::from([sequence]))),
            }
        }
        self.fresh.push_back(event);
    }

    /// Removes the oldest event, and returns its sequence number.
    pub(super) fn pop(&mut self) -> Option<u64> {
        if let Some(event) = self.packed.pop_front() {
            self.unlist(&event.kind, event.actor.as_deref());
            self.removed = event.hash;
            return Some(event.sequence);
        }
        let event = self.fresh.pop_front()?;
        self.removed = bytes(&event.hash).unwrap_or_default();
        self.unlist(&event.kind, event.actor_id.as_deref());
        Some(event.sequence)
    }

    /// Removes the oldest event of a type and an agent from the index.
    fn unlist(&mut self, kind: &str, actor: Option<&str>) {
        for (kind, actor) in keys(kind, actor) {
            let Some(of_kind) = self.places.get_mut(kind) else {
                continue;
            };
            if let Some(places) = of_kind.get_mut(actor) {
                places.pop_front();
                if places.is_empty() {
                    of_kind.remove(actor);
                }
            }
            if of_kind.is_empty() {
                self.places.remove(kind);
            }
        }
    }

    /// Returns fresh events to be packed, once there are enough. The caller has to
    /// [put](Self::put_packed) them back. Until then, no other caller gets any.
    pub(super) fn next_to_pack(&mut self) -> Vec<Arc<SealedEvent>> {
        if self.is_packing || self.fresh.len() < FRESH + AT_A_TIME {
            return Vec::new();
        }
        self.is_packing = true;
        self.fresh.iter().take(AT_A_TIME).cloned().collect()
    }

    /// Replaces the oldest fresh events by packed ones, except those that were removed meanwhile.
    pub(super) fn put_packed(&mut self, events: impl IntoIterator<Item = PackedEvent>) {
        self.is_packing = false;
        for mut event in events {
            let oldest = self.fresh.front().map(|fresh| fresh.sequence);
            if oldest == Some(event.sequence) {
                if let Some(actor) = &mut event.actor
                    && let Some((listed, _)) =
                        (self.places.get("")).and_then(|of_any| of_any.get_key_value(&**actor))
                {
                    *actor = Arc::clone(listed);
                }
                self.packed.push_back(event);
                self.fresh.pop_front();
            }
        }
    }

    /// Adds the events above `after` that pass the filter, until the list is full.
    pub(super) fn find(
        &self,
        after: u64,
        found: &mut EventCollector<FoundEvent>,
        filter: &EventFilter,
    ) {
        let range = self.range(after, filter);
        if filter.is_contiguous() {
            for place in range {
                if found.is_full() {
                    return;
                }
                self.collect(place, found);
            }
            return;
        }
        let Some(first) = self.first() else {
            return;
        };
        let mut lists: Vec<_> = self.lists(filter, &range).collect();
        while !found.is_full() {
            let next = lists.iter_mut().filter_map(|list| {
                let place = **list.peek()?;
                Some((place, list))
            });
            let Some((place, list)) = next.min_by_key(|(place, _)| *place) else {
                return;
            };
            if let Ok(at) = usize::try_from(place - first) {
                self.collect(at, found);
            }
            list.next();
        }
    }

    /// Adds the event at a place of the list.
    fn collect(&self, place: usize, found: &mut EventCollector<FoundEvent>) {
        if let Some(event) = self.packed.get(place) {
            let before = place
                .checked_sub(1)
                .and_then(|place| self.packed.get(place));
            let previous_hash = before.map_or(self.removed, |event| event.hash);
            let bytes = event.payload.text_len();
            found.add(FoundEvent::Packed(event.clone(), previous_hash), bytes);
        } else if let Some(event) = self.fresh.get(place - self.packed.len()) {
            found.add(FoundEvent::Fresh(Arc::clone(event)), event.payload.len());
        }
    }

    /// Counts the events that pass the filter.
    pub(super) fn count(&self, filter: &EventFilter) -> usize {
        let range = self.range(0, filter);
        if filter.is_contiguous() {
            return range.len();
        }
        self.lists(filter, &range).map(|list| list.len()).sum()
    }

    /// Returns the places in the list that the sequence numbers and times of a filter leave. The
    /// chain's time never runs backwards.
    fn range(&self, after: u64, filter: &EventFilter) -> Range<usize> {
        let sequence = |place: usize| self.first().unwrap_or_default() + place as u64;
        let first = self.partition_point(|place| {
            let is_before = |since: &str| *self.occurred_at(place) < *since;
            sequence(place) <= after || filter.since.as_deref().is_some_and(is_before)
        });
        let last = self.partition_point(|place| {
            let is_within = |until: &str| *self.occurred_at(place) <= *until;
            let through = filter.through;
            through.is_none_or(|through| sequence(place) <= through)
                && filter.until.as_deref().is_none_or(is_within)
        });
        first..last.max(first)
    }

    /// Returns the first place for which `is_before` is false, as `slice::partition_point` does.
    fn partition_point(&self, is_before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match is_before(middle) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Returns the time of the event at a place of the list.
    fn occurred_at(&self, place: usize) -> String {
        match self.packed.get(place) {
            Some(event) => occurred_at(&event.payload.unpack()).to_owned(),
            None => {
                let event = self.fresh.get(place - self.packed.len());
                event
                    .map(|event| event.occurred_at.clone())
                    .unwrap_or_default()
            }
        }
    }

    /// Returns the sequence numbers in a range of the list, for each type and agent of a filter.
    fn lists(
        &self,
        filter: &EventFilter,
        range: &Range<usize>,
    ) -> impl Iterator<Item = std::iter::Peekable<std::collections::vec_deque::Iter<'_, u64>>> {
        let first = self.first().unwrap_or_default();
        let start = first.saturating_add(range.start as u64);
        let end = first.saturating_add(range.end as u64);
        let lists = filter.keys().into_iter().filter_map(|(kind, actor)| {
            let places = self.places.get(kind)?.get(actor)?;
            let from = places.partition_point(|place| *place < start);
            let to = places.partition_point(|place| *place < end);
            Some(places.range(from..to.max(from)).peekable())
        });
        lists.collect::<Vec<_>>().into_iter()
    }
}

impl PackedEvent {
    /// Packs an event. Returns `None` if its hash is invalid. `buffer` is scratch space.
    pub(super) fn new(event: &SealedEvent, buffer: &mut Vec<u8>) -> Option<Self> {
        Some(Self {
            sequence: event.sequence,
            kind: event.kind.clone(),
            actor: event.actor_id.clone(),
            payload: Packed::new(&event.payload, buffer),
            hash: bytes(&event.hash)?,
        })
    }
}

impl FoundEvent {
    /// Returns the event as it was sealed.
    pub(super) fn unpack(self) -> Arc<SealedEvent> {
        let (event, previous_hash) = match self {
            Self::Fresh(event) => return event,
            Self::Packed(event, previous_hash) => (event, previous_hash),
        };
        let payload = event.payload.unpack();
        Arc::new(SealedEvent {
            sequence: event.sequence,
            kind: event.kind,
            actor_id: event.actor,
            occurred_at: occurred_at(&payload).to_owned(),
            payload,
            previous_hash: lower::encode_string(&previous_hash).into(),
            hash: lower::encode_string(&event.hash).into(),
        })
    }
}

/// Returns the bytes of a hash.
fn bytes(hash: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    let read = lower::decode(hash, &mut bytes).ok()?;
    (read.len() == bytes.len()).then_some(bytes)
}

/// Returns the time of an event from its payload. Within other strings, quotes are escaped, so the
/// key is found as a key alone.
fn occurred_at(payload: &str) -> &str {
    let time = payload.split_once(r#","occurred_at":""#);
    let time = time.and_then(|(_, from)| from.split_once('"'));
    time.map_or("", |(time, _)| time)
}

/// Returns the keys that an event is filed under.
fn keys<'e>(kind: &'e str, actor: Option<&'e str>) -> impl Iterator<Item = (&'e str, &'e str)> {
    let actor = actor.unwrap_or_default();
    let of_actor = (!actor.is_empty()).then_some([("", actor), (kind, actor)]);
    std::iter::once((kind, "")).chain(of_actor.into_iter().flatten())
}
