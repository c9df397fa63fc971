//! The events of [`MemoryStore`](super::MemoryStore), with the index that filters use.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;
use crate::trail::filter::EventCollector;

/// Events in the order of their sequence numbers, without gaps.
#[derive(Debug, Default)]
pub(super) struct EventList {
    events: VecDeque<Arc<SealedEvent>>,
    /// The sequence numbers of the events by type and agent. An event is filed under its type, and
    /// if it has an agent, also under the agent and under both. An empty text stands for any type
    /// or agent.
    places: HashMap<String, HashMap<String, VecDeque<u64>>>,
}

impl EventList {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns the sequence number of the oldest event.
    pub(super) fn first(&self) -> Option<u64> {
        self.events.front().map(|event| event.sequence)
    }

    pub(super) fn push(&mut self, event: Arc<SealedEvent>) {
        let sequence = event.sequence;
        for (kind, actor) in keys(&event) {
            let of_kind = match self.places.get_mut(kind) {
                Some(known) => known,
                None => self.places.entry(kind.to_owned()).or_default(),
            };
            match of_kind.get_mut(actor) {
                Some(places) => places.push_back(sequence),
                None => drop(of_kind.insert(actor.to_owned(), VecDeque::from([sequence]))),
            }
        }
        self.events.push_back(event);
    }

    /// Removes the oldest event.
    pub(super) fn pop(&mut self) -> Option<Arc<SealedEvent>> {
        let event = self.events.pop_front()?;
        for (kind, actor) in keys(&event) {
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
        Some(event)
    }

    /// Adds the events above `after` that pass the filter, until the list is full.
    pub(super) fn find(&self, after: u64, found: &mut EventCollector, filter: &EventFilter) {
        let range = self.range(after, filter);
        if filter.is_contiguous() {
            let events = self.events.range(range);
            return fill(found, events);
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
            let at = usize::try_from(place - first).ok();
            if let Some(event) = at.and_then(|at| self.events.get(at)) {
                found.push(Arc::clone(event));
            }
            list.next();
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

    /// Returns the positions in the list that the sequence numbers and times of a filter leave. The
    /// chain's time never runs backwards.
    fn range(&self, after: u64, filter: &EventFilter) -> Range<usize> {
        let events = &self.events;
        let since = filter.since.as_deref().unwrap_or_default();
        let first =
            events.partition_point(|event| event.sequence <= after || &*event.occurred_at < since);
        let last = events.partition_point(|event| {
            let through = filter
                .through
                .is_none_or(|through| event.sequence <= through);
            through && (filter.until.as_deref()).is_none_or(|until| &*event.occurred_at <= until)
        });
        first..last.max(first)
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

fn fill<'a>(found: &mut EventCollector, events: impl Iterator<Item = &'a Arc<SealedEvent>>) {
    for event in events {
        if found.is_full() {
            return;
        }
        found.push(Arc::clone(event));
    }
}

/// Returns the keys that an event is filed under.
fn keys(event: &SealedEvent) -> impl Iterator<Item = (&str, &str)> {
    let kind = &*event.kind;
    let actor = event.actor_id.as_deref().unwrap_or_default();
    let of_actor = (!actor.is_empty()).then_some([("", actor), (kind, actor)]);
    std::iter::once((kind, "")).chain(of_actor.into_iter().flatten())
}
