//! Which events of the chain are meant.

use std::sync::Arc;

use jiff::Timestamp;

use crate::trail::chain::{SealedEvent, format_time};

/// Which events are meant: those that pass everything that is set. The default is all.
///
/// A filter by time leaves a stretch without gaps, which verifies as a whole. One by type or agent
/// leaves gaps.
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
    /// The types of event that pass; all when there is none.
    pub(crate) types: Vec<String>,
    /// The agent whose events pass.
    pub(crate) actor_id: Option<String>,
    /// The first time that passes, as events spell it: such texts are in the order of their times.
    pub(crate) since: Option<String>,
    /// The last time that passes.
    pub(crate) until: Option<String>,
    /// The last sequence number that passes.
    pub(crate) through: Option<u64>,
    /// How many bytes of text a list of events may have before it ends.
    pub(crate) most_bytes: Option<usize>,
}

impl EventFilter {
    /// Only events of these types, such as `evaluate.deny`. None at all means every type. A second
    /// call replaces the list.
    pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Only events of this agent. A second call replaces the first.
    pub fn actor_id(mut self, agent: impl Into<String>) -> Self {
        self.actor_id = Some(agent.into());
        self
    }

    /// Only events at or after this time. Of two calls, the later time holds.
    pub fn since(mut self, time: Timestamp) -> Self {
        // `None` is before every time.
        self.since = self.since.max(Some(format_time(time)));
        self
    }

    /// Only events at or before this time. Of two calls, the earlier time holds.
    pub fn until(mut self, time: Timestamp) -> Self {
        let time = format_time(time);
        self.until = Some(match self.until {
            Some(until) => until.min(time),
            None => time,
        });
        self
    }

    /// Only events up to this sequence number, so that what is appended meanwhile stays out. Of two
    /// calls, the lower number holds.
    pub fn through(mut self, sequence: u64) -> Self {
        self.through = Some(
            self.through
                .map_or(sequence, |through| through.min(sequence)),
        );
        self
    }

    /// Ends a list of events with the one by which their payloads have so many bytes. A list that
    /// would have events has one at least. Counts are not affected. A second call replaces the
    /// first.
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = Some(bytes);
        self
    }

    /// Whether what passes has no gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.types.is_empty() && self.actor_id.is_none()
    }

    /// Whether everything passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.is_contiguous()
            && self.since.is_none()
            && self.until.is_none()
            && self.through.is_none()
    }

    /// The types and agents to look for in an index, each pair once. What is not filtered by is
    /// empty; a filter by neither has no pairs.
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

    /// Whether an event passes.
    #[must_use]
    pub fn passes(&self, event: &SealedEvent) -> bool {
        self.passes_fields(
            event.sequence,
            &event.kind,
            event.actor_id.as_deref(),
            &event.occurred_at,
        )
    }

    /// The same, for a store that has not put an event together yet.
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

/// A list of events that a store puts together, and its limits.
#[derive(Debug)]
pub(crate) struct Found {
    events: Vec<Arc<SealedEvent>>,
    limit: usize,
    bytes: usize,
    most_bytes: usize,
}

impl Found {
    /// An empty list for at most `limit` events, and no more bytes than the filter says.
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

    pub(crate) fn push(&mut self, event: Arc<SealedEvent>) {
        self.bytes = self.bytes.saturating_add(event.payload.len());
        self.events.push(event);
    }

    pub(crate) fn into_events(self) -> Vec<Arc<SealedEvent>> {
        self.events
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
