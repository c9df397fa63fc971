//! Checks a chain event by event, in memory that does not grow with it.

use super::checked_event::{CheckedEvent, has_hash_after};
use super::event::{Event, GENESIS_HASH};
use super::report::{ChainLink, ChainReport, Continuation, Finding, Problem, truncated};
use crate::canonical::Tape;

/// Checks the events of a chain, pushed one by one in the order of the chain.
///
/// ```
/// use atlasent::audit::{ChainVerifier, GENESIS_HASH};
///
/// let report = ChainVerifier::new().finish(Some(GENESIS_HASH), Some(0));
/// assert!(report.is_intact());
/// ```
#[derive(Debug)]
pub struct ChainVerifier {
    /// The previous hash that the next event must name. `None` before the first event.
    running: Option<String>,
    /// The hash of the last event. `None` if that event has no hash.
    last_hash: Option<String>,
    /// The sequence number of the last event.
    sequence: Option<u64>,
    expected: Option<ExpectedHead>,
    report: ChainReport,
}

/// A head that the chain is expected to contain or to follow.
#[derive(Debug)]
struct ExpectedHead {
    sequence: u64,
    hash: String,
    /// Whether the event with the head's sequence number has the head's hash. `None` until an event
    /// with that number was checked.
    matches: Option<bool>,
}

impl Default for ChainVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl ChainVerifier {
    /// Creates a verifier that has checked no event yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            running: None,
            last_hash: None,
            sequence: None,
            expected: None,
            report: ChainReport {
                adjacent: true,
                ..ChainReport::default()
            },
        }
    }

    /// Compares the trail with an earlier head of its chain: the sequence number and the hash of an
    /// event. [`ChainReport::continuation`] holds the result. A second call replaces the first;
    /// call it before the first event.
    ///
    /// ```
    /// use atlasent::audit::{ChainVerifier, Continuation, GENESIS_HASH};
    ///
    /// let verifier = ChainVerifier::new().expect_head(7, "9f86d081884c7d65");
    /// let report = verifier.finish(Some(GENESIS_HASH), Some(0));
    /// assert_eq!(report.continuation, Some(Continuation::EndsBefore { last: 0 }));
    /// ```
    #[must_use]
    pub fn expect_head(mut self, sequence: u64, hash: impl Into<String>) -> Self {
        self.expected = Some(ExpectedHead {
            sequence,
            hash: hash.into(),
            matches: None,
        });
        self
    }

    /// Checks the next event.
    ///
    /// The first event may name any previous hash, so a trail from the middle of a chain verifies
    /// too.
    pub fn push(&mut self, event: &Event) {
        // Serializing strings, integers and JSON text into memory cannot fail. If it did, `{}`
        // would be reported as an event without a hash.
        let text = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
        self.check(&Tape::parse(&text));
    }

    /// Checks the next event: a JSON object.
    fn check(&mut self, event: &Tape<'_>) {
        self.add(CheckedEvent::new(event), |previous| {
            has_hash_after(event, previous)
        });
    }

    /// Adds the next event, whose own parts were checked. `has_hash_after` tells whether the
    /// event's hash fits its payload after another hash than the previous one that it names.
    pub(super) fn add(&mut self, event: CheckedEvent, has_hash_after: impl FnOnce(&str) -> bool) {
        let index = self.report.events;
        self.report.events += 1;
        self.check_hash(index, &event, has_hash_after);
        if event.repeats_key {
            self.add_finding(index, &event, Problem::RepeatedKey);
        }
        if !follows(self.sequence, event.sequence) {
            self.add_finding(index, &event, Problem::SequenceGap);
        }
        self.sequence = event.sequence;
        if let Some(problem) = event.envelope_problem {
            self.add_finding(index, &event, problem);
        }
        self.check_time(index, &event);
        self.last_hash = event.hash;
    }

    fn check_hash(
        &mut self,
        index: u64,
        event: &CheckedEvent,
        has_hash_after: impl FnOnce(&str) -> bool,
    ) {
        let link = ChainLink {
            sequence: event.sequence,
            hash: event.hash.as_deref().map(truncated),
            previous_hash: event.previous_hash.as_deref().map(truncated),
        };
        if let Some(expected) = &mut self.expected
            && event.sequence == Some(expected.sequence)
        {
            // A repeated sequence number is a finding; every event with that number must have the
            // expected hash.
            let same = event.hash.as_deref() == Some(&*expected.hash);
            expected.matches = Some(same && expected.matches != Some(false));
        }
        if self.report.first.is_none() {
            self.report.first = Some(link.clone());
        }
        self.report.last = Some(link);
        let named = event.previous_hash.as_deref();
        let running = self
            .running
            .take()
            .unwrap_or_else(|| named.unwrap_or(GENESIS_HASH).to_owned());
        let (Some(hash), Some(named)) = (&event.hash, named) else {
            self.report.adjacent = false;
            match &event.id {
                Some(id) => self.report.add_tampered(id),
                None => self.report.add_tampered(&format!("index_{index}")),
            }
            self.add_finding(index, event, Problem::NoHash);
            self.running = Some(running);
            return;
        };
        let fits = match named == running {
            true => event.hash_fits,
            false => {
                self.report.adjacent = false;
                self.add_finding(index, event, Problem::NotAdjacent);
                has_hash_after(&running)
            }
        };
        if !fits {
            self.report
                .add_tampered(event.id.as_deref().unwrap_or("None"));
            self.add_finding(index, event, Problem::HashMismatch);
        }
        self.running = Some(hash.clone());
    }

    fn check_time(&mut self, index: u64, event: &CheckedEvent) {
        let Some(now) = event.occurred_at else {
            return self.add_finding(index, event, Problem::UnreadableTime);
        };
        self.report.first_at.get_or_insert(now);
        let before = self.report.last_at.replace(now);
        if before.is_some_and(|before| now < before) {
            self.add_finding(index, event, Problem::TimeRunsBackwards);
        }
    }

    fn add_finding(&mut self, index: u64, event: &CheckedEvent, problem: Problem) {
        self.report.add_finding(Finding {
            index: Some(index),
            event_id: event.id.as_deref().map(truncated),
            sequence: event.sequence,
            problem,
        });
    }

    /// Adds a finding about the trail as a whole.
    pub(super) fn add_trail_finding(&mut self, problem: Problem) {
        self.report.add_finding(Finding::in_trail(problem));
    }

    /// Ends the check: compares the last hash with the head that the trail names, and the number of
    /// events with the number that it names. A missing head is reported as wrong; a missing number
    /// is not checked.
    #[must_use]
    pub fn finish(mut self, head: Option<&str>, count: Option<u64>) -> ChainReport {
        let last = self.last_hash.as_deref().unwrap_or(GENESIS_HASH);
        self.report.head_hash_matches = head == Some(last);
        if !self.report.head_hash_matches {
            self.add_trail_finding(Problem::WrongHead);
        }
        if count.is_some_and(|count| count != self.report.events) {
            self.add_trail_finding(Problem::WrongCount);
        }
        let mut report = self.report;
        report.continuation = (self.expected).map(|expected| expected.compare(&report));
        report.integrity_ok = report.adjacent && report.tampered == 0 && report.head_hash_matches;
        report
    }
}

impl ExpectedHead {
    /// Returns how the trail of a report relates to the head.
    fn compare(&self, report: &ChainReport) -> Continuation {
        let sequence = |link: &Option<ChainLink>| link.as_ref().and_then(|link| link.sequence);
        let ends = sequence(&report.last).unwrap_or(0);
        let Some(first) = sequence(&report.first) else {
            return match self.sequence {
                // The head of an empty chain: an empty trail contains all of its events.
                0 if report.events == 0 && self.hash == GENESIS_HASH => Continuation::Contains,
                _ => Continuation::EndsBefore { last: ends },
            };
        };
        match self.matches {
            Some(true) => return Continuation::Contains,
            Some(false) => return Continuation::Differs,
            None => {}
        }
        let next = self.sequence.saturating_add(1);
        if first == next {
            let previous = report
                .first
                .as_ref()
                .and_then(|first| first.previous_hash.as_deref());
            return match previous == Some(&*self.hash) {
                true => Continuation::Follows,
                false => Continuation::Differs,
            };
        }
        match first > next {
            true => Continuation::Gap {
                first: next,
                last: first - 1,
            },
            false if self.sequence > ends => Continuation::EndsBefore { last: ends },
            // The trail skips the head's sequence number.
            false => Continuation::Differs,
        }
    }
}

/// Whether the sequence number `now` is the successor of `before`. Any number may be the first.
fn follows(before: Option<u64>, now: Option<u64>) -> bool {
    match (before, now) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(now)) => before.checked_add(1) == Some(now),
    }
}
