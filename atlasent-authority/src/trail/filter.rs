//! Filters of events.

use std::sync::Arc;

use jiff::Timestamp;

use crate::trail::chain::{SealedEvent, format_time};

/// Selects events: those that pass every condition that is set. The default passes every event.
///
/// Events that a filter by time passes have no gaps, and verify as a chain. A filter by type or
/// agent leaves gaps.
///
/// ```
/// use atlasent_authority::trail::EventFilter;
///
/// let filter = EventFilter::default().types(["evaluate.deny"]).since("2026-11-01T00:00:00Z".parse()?);
/// assert!(!filter.is_contiguous());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct EventFilter {
    /// The types that pass. An empty list passes every type.
    pub(crate) types: Vec<String>,
    /// The agent whose events pass. Unset passes every event.
    pub(crate) actor_id: Option<String>,
    /// The first time that passes, in the format of events, whose texts sort like their times.
    pub(crate) since: Option<String>,
    /// The last time that passes.
    pub(crate) until: Option<String>,
    /// The last sequence number that passes.
    pub(crate) through: Option<u64>,
    /// How many bytes of payload a list of events may have before it ends.
    pub(crate) most_bytes: Option<usize>,
}

impl EventFilter {
    /// Passes only events of these types, such as `evaluate.deny`. An empty list passes every type.
    /// A second call replaces the list.
    pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Passes only events of this agent. A second call replaces the first.
    pub fn actor_id(mut self, agent: impl Into<String>) -> Self {
        self.actor_id = Some(agent.into());
        self
    }

    /// Passes only events at or after this time. Of two calls, the later time holds.
    pub fn since(mut self, time: Timestamp) -> Self {
        // `None` sorts before every time.
        self.since = self.since.max(Some(format_time(time)));
        self
    }

    /// Passes only events at or before this time. Of two calls, the earlier time holds.
    pub fn until(mut self, time: Timestamp) -> Self {
        let time = format_time(time);
        self.until = Some(match self.until {
            Some(until) => until.min(time),
            None => time,
        });
        self
    }

    /// Passes only events up to this sequence number. Of two calls, the lower number holds.
    pub fn through(mut self, sequence: u64) -> Self {
        self.through = Some(
            self.through
                .map_or(sequence, |through| through.min(sequence)),
        );
        self
    }

    /// Ends a list of events with the event at which their payloads reach a number of bytes. The
    /// list has at least one event, if any matches the filter. Counts are not affected. A second
    /// call replaces the first.
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = Some(bytes);
        self
    }

    /// Returns whether the events that pass have no gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.types.is_empty() && self.actor_id.is_none()
    }

    /// Returns whether every event passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.is_contiguous()
            && self.since.is_none()
            && self.until.is_none()
            && self.through.is_none()
    }

    /// Returns the types and agents to look up in an index, each pair once. An empty text stands
    /// for any. Without a filter by type or agent the list is empty.
    pub(crate) fn keys(&self) -> Vec<(&str, &str)> {
        let actor = match &self.actor_id {
            // No event has an empty agent.
            Some(actor) if actor.is_empty() => return Vec::new(),
            Some(actor) => &**actor,
            None => "",
        };
        if self.types.is_empty() {
            return self.actor_id.iter().map(|_| ("", actor)).collect();
        }
        let types = self.types.iter().filter(|kind| !kind.is_empty());
        let mut keys: Vec<_> = types.map(|kind| (&**kind, actor)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Returns whether an event passes.
    #[must_use]
    pub fn passes(&self, event: &SealedEvent) -> bool {
        self.passes_fields(
            event.sequence,
            &event.kind,
            event.actor_id.as_deref(),
            &event.occurred_at,
        )
    }

    /// As [`passes`](Self::passes), on the fields of an event that a store has not assembled yet.
    pub(crate) fn passes_fields(
        &self,
        sequence: u64,
        kind: &str,
        actor_id: Option<&str>,
        occurred_at: &str,
    ) -> bool {
        let through = self.through.is_none_or(|through| sequence <= through);
        let typed = self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind);
        let agent = self.actor_id.is_none() || self.actor_id.as_deref() == actor_id;
        let since = (self.since.as_deref()).is_none_or(|since| occurred_at >= since);
        let until = (self.until.as_deref()).is_none_or(|until| occurred_at <= until);
        through && typed && agent && since && until
    }
}

/// Collects the events of one read, up to its limits.
#[derive(Debug)]
pub(crate) struct EventCollector<E = Arc<SealedEvent>> {
    events: Vec<E>,
    limit: usize,
    bytes: usize,
    most_bytes: usize,
}

impl<E> EventCollector<E> {
    /// Starts a list of at most `limit` events, and at most as many bytes as the filter allows.
    pub(crate) fn new(limit: usize, filter: &EventFilter) -> Self {
        Self {
            events: Vec::new(),
            limit,
            bytes: 0,
            most_bytes: filter.most_bytes.unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        let has_bytes = !self.events.is_empty() && self.bytes >= self.most_bytes;
        self.events.len() >= self.limit || has_bytes
    }

    /// Adds an event whose payload has `bytes` bytes.
    pub(crate) fn add(&mut self, event: E, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.events.push(event);
    }

    pub(crate) fn into_events(self) -> Vec<E> {
        self.events
    }
}

#[cfg(any(feature = "redb", feature = "postgres"))]
impl EventCollector {
    /// Adds an event.
    pub(crate) fn push(&mut self, event: Arc<SealedEvent>) {
        let bytes = event.payload.len();
        self.add(event, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u8) -> Timestamp {
        format!("2026-11-01T00:00:{second:02}Z").parse().unwrap()
    }

    #[test]
    fn bounds_that_are_set_twice_narrow_and_lists_are_replaced() {
        let one = EventFilter::default().since(at(5)).until(at(20)).through(7);
        for filter in [
            one.clone().since(at(1)).until(at(30)).through(9),
            EventFilter::default()
                .since(at(1))
                .until(at(30))
                .through(9)
                .since(at(5))
                .until(at(20))
                .through(7),
        ] {
            assert_eq!(filter, one);
        }
        let filter = EventFilter::default()
            .types(["a", "b"])
            .types(["c"])
            .actor_id("x")
            .actor_id("y");
        assert_eq!(
            (filter.types, filter.actor_id.as_deref()),
            (vec!["c".to_owned()], Some("y"))
        );
    }
}
