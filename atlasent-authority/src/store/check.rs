//! The report of a store's offline check, and the check of the chain, which all stores share.

use std::collections::BTreeMap;

use atlasent::audit::{ChainReport, ChainVerifier, GENESIS_HASH};

use super::{OrgId, StoreStatus};
use crate::trail::chain::{ChainHead, SealedEvent};

/// How many problems a report lists. Further ones are counted only.
const NAMED: usize = 100;

/// The result of a store's check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreReport {
    /// The head that the store names.
    pub head: ChainHead,
    /// The sequence number of the last event that was dropped from the beginning of the chain; 0 if
    /// no event was dropped.
    pub dropped: u64,
    /// How many cells the store keeps.
    pub cells: u64,
    /// The result of verifying the chain.
    pub chain: ChainReport,
    /// The problems beside those of the chain, one sentence each: the first 100.
    pub problems: Vec<String>,
    /// The number of all problems beside those of the chain.
    pub found: u64,
    /// The reports of the organizations beside `local`, which the other fields are about.
    pub others: BTreeMap<OrgId, StoreReport>,
}

impl StoreReport {
    /// Returns whether the check found no problem, in any organization.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.found == 0 && self.chain.is_intact() && self.others.values().all(Self::is_good)
    }
}

/// A running check, which takes the events of a store in their order.
pub(super) struct StoreCheck {
    report: StoreReport,
    chain: ChainVerifier,
    last: u64,
}

impl StoreCheck {
    /// Starts the check of a store.
    pub(super) fn new(status: StoreStatus) -> Self {
        Self {
            last: status.dropped,
            report: StoreReport {
                head: status.head,
                dropped: status.dropped,
                cells: status.cells,
                chain: ChainReport::default(),
                problems: Vec::new(),
                found: 0,
                others: BTreeMap::new(),
            },
            chain: ChainVerifier::new(),
        }
    }

    /// Checks the next event.
    pub(super) fn push(&mut self, event: &SealedEvent) {
        if event.sequence <= self.last {
            self.find(format!(
                "event {} is still stored, although it was dropped",
                event.sequence
            ));
        } else if event.sequence != self.last + 1 {
            self.find(missing(self.last + 1, event.sequence - 1));
        }
        if event.sequence == 1 && *event.previous_hash != *GENESIS_HASH {
            self.find("event 1 does not begin the chain".to_owned());
        }
        self.last = self.last.max(event.sequence);
        match event.to_event() {
            Ok(read) => {
                if !repeats(event, &read) {
                    let sequence = event.sequence;
                    self.find(format!(
                        "event {sequence} is filed under other values than its payload has"
                    ));
                }
                self.chain.push(&read);
            }
            // Without the error's text, which may contain a caller's values.
            Err(_) => self.find(format!("event {} cannot be read", event.sequence)),
        }
    }

    /// Adds a problem.
    pub(super) fn find(&mut self, problem: String) {
        self.report.found += 1;
        if self.report.problems.len() < NAMED {
            self.report.problems.push(problem);
        }
    }

    /// Compares the number of open decisions with the count of them.
    pub(super) fn compare_open(&mut self, open: u64, counted: u64) {
        if open != counted {
            self.find(format!(
                "{open} decisions are open, and the count of them is {counted}"
            ));
        }
    }

    /// Ends the check: the last event must be the head.
    pub(super) fn finish(mut self) -> StoreReport {
        let (last, head) = (self.last, self.report.head.clone());
        if last < head.sequence {
            self.find(missing(last + 1, head.sequence));
        } else if last > head.sequence {
            self.find(format!(
                "event {last} is behind the head, which is event {}",
                head.sequence
            ));
        }
        let expected = match head.sequence > self.report.dropped {
            true => &*head.hash,
            false => GENESIS_HASH,
        };
        self.report.chain = self.chain.finish(Some(expected), None);
        self.report
    }
}

/// Returns whether the fields that an event is found by equal those in its payload.
fn repeats(event: &SealedEvent, read: &atlasent::audit::Event) -> bool {
    let said = &read.envelope;
    said.sequence == event.sequence
        && said.kind == event.kind
        && said.actor_id.as_deref() == event.actor_id.as_deref()
        && said.occurred_at == event.occurred_at
}

fn missing(first: u64, last: u64) -> String {
    match first == last {
        true => format!("event {first} is missing"),
        false => format!("events {first} to {last} are missing"),
    }
}
