//! Checks the events of a bundle on several threads, and takes the results in the events' order.
//!
//! # Example
//!
//! The reading thread fills batches, and hands them to two workers in turn. It takes the oldest
//! result back when each worker has [`BATCHES_PER_WORKER`] batches, and all that are left at the
//! end:
//!
//! ```text
//! reading thread   fill 0   fill 1   fill 2   fill 3   fill 4, take 0   fill 5, take 1   …
//! worker 0                  check 0 ──────►   check 2 ──────────────►   check 4 …
//! worker 1                           check 1 ──────►  check 3 ──────────────►   check 5 …
//! ```
//!
//! Only the comparison of an event with those before it is left to the reading thread. A bundle
//! that fits in one batch starts no thread.

use std::mem;
use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::chain::ChainVerifier;
use super::checked_event::{CheckedEvent, has_hash_after};
use super::error::BundleError;
use super::hash::check_value;
use super::members::signed_form;
use crate::canonical::{Kind, Spelling, Tape};

/// The size in bytes at which a batch is full. A longer event is checked by the reading thread, so
/// that one such event at a time is in memory.
const BATCH: usize = 64 * 1024;

/// How many batches a worker has at a time: one that it checks, and one that waits.
const BATCHES_PER_WORKER: usize = 2;

/// The maximum number of workers. One reading thread keeps no more busy.
const MAX_WORKERS: usize = 8;

/// Checks events in their order. Its results are those of one [`ChainVerifier`].
pub(super) struct EventPipeline<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    results: EventResults,
    /// The batch that is being filled.
    batch: EventBatch,
    /// The workers. `None` until the first batch is full.
    workers: Option<Vec<Worker>>,
    /// The number of batches that workers got so far.
    handed_over: usize,
    /// The number of batches whose results were taken.
    taken: usize,
}

/// The results of the events that were checked.
pub(super) struct EventResults {
    pub(super) chain: ChainVerifier,
    /// The first invalid event.
    pub(super) invalid_event: Option<BundleError>,
    /// Whether the text of each event already has the form that is signed.
    pub(super) verbatim: bool,
    /// Whether Python spells a number in an event differently.
    pub(super) respelled: bool,
    /// The number of events, and the position behind the last of them in bytes.
    pub(super) events: u64,
    pub(super) position: u64,
}

/// Successive events.
#[derive(Default)]
struct EventBatch {
    text: String,
    events: Vec<EventSpan>,
}

/// Where an event stands.
struct EventSpan {
    index: u64,
    /// The position in the bundle, in bytes.
    at: u64,
    /// The range in the text of the batch.
    range: Range<usize>,
}

/// A batch whose events were checked, each on its own.
struct CheckedBatch {
    batch: EventBatch,
    events: Vec<Result<CheckedEvent, BundleError>>,
    verbatim: bool,
    respelled: bool,
}

/// A thread that checks batches.
struct Worker {
    batches: SyncSender<EventBatch>,
    checked: Receiver<CheckedBatch>,
}

impl<'scope, 'env> EventPipeline<'scope, 'env> {
    /// Creates a pipeline without events. Its workers end when it is dropped.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, chain: ChainVerifier) -> Self {
        Self {
            scope,
            results: EventResults {
                chain,
                invalid_event: None,
                verbatim: true,
                respelled: false,
                events: 0,
                position: 0,
            },
            batch: EventBatch::default(),
            workers: None,
            handed_over: 0,
            taken: 0,
        }
    }

    /// Adds the next event: its text, index and position in bytes. Returns the number of events
    /// that were checked so far, and the position behind them.
    pub(super) fn push(&mut self, index: u64, at: u64, text: &str) -> (u64, u64) {
        if text.len() > BATCH {
            self.finish_all();
            self.results
                .add(EventBatch::of_one(index, at, text).check());
        } else {
            self.batch.push(index, at, text);
            if self.batch.text.len() >= BATCH {
                self.hand_over();
            }
        }
        (self.results.events, self.results.position)
    }

    /// Waits for all results, and returns them.
    pub(super) fn finish(mut self) -> EventResults {
        self.finish_all();
        self.results
    }

    fn finish_all(&mut self) {
        while self.taken < self.handed_over {
            self.take_oldest();
        }
        self.results.add(mem::take(&mut self.batch).check());
    }

    /// Hands the batch to the next worker. Without workers, checks it.
    fn hand_over(&mut self) {
        let scope = self.scope;
        let workers = self.workers.get_or_insert_with(|| Worker::start_all(scope));
        if self.handed_over - self.taken >= workers.len() * BATCHES_PER_WORKER {
            match workers.is_empty() {
                true => return self.finish_all(),
                false => self.take_oldest(),
            }
        }
        let batch = mem::take(&mut self.batch);
        if let Some(worker) = self.worker_of(self.handed_over) {
            // A worker that is gone has panicked: the end of the scope passes the panic on.
            let _ = worker.batches.send(batch);
        }
        self.handed_over += 1;
    }

    /// Takes the result of the oldest batch that a worker has.
    fn take_oldest(&mut self) {
        let worker = self.worker_of(self.taken);
        if let Some(checked) = worker.and_then(|worker| worker.checked.recv().ok()) {
            self.results.add(checked);
        }
        self.taken += 1;
    }

    /// Returns the worker of a batch. Workers take turns.
    fn worker_of(&self, batch: usize) -> Option<&Worker> {
        let workers = self.workers.as_deref()?;
        workers.get(batch.checked_rem(workers.len())?)
    }
}

impl EventResults {
    /// Adds the results of the next batch: compares its events with those before them.
    fn add(&mut self, checked: CheckedBatch) {
        let CheckedBatch { batch, events, .. } = checked;
        self.verbatim &= checked.verbatim;
        self.respelled |= checked.respelled;
        for (span, event) in batch.events.iter().zip(events) {
            self.events = span.index + 1;
            self.position = span.at + span.range.len() as u64;
            match event {
                Ok(event) => (self.chain).add(event, |previous| {
                    has_hash_after(&Tape::parse(batch.text_of(span)), previous)
                }),
                Err(error) => drop(self.invalid_event.get_or_insert(error)),
            }
        }
    }
}

impl EventBatch {
    fn of_one(index: u64, at: u64, text: &str) -> Self {
        let mut batch = Self::default();
        batch.push(index, at, text);
        batch
    }

    fn push(&mut self, index: u64, at: u64, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        let range = start..self.text.len();
        self.events.push(EventSpan { index, at, range });
    }

    fn text_of(&self, span: &EventSpan) -> &str {
        self.text.get(span.range.clone()).unwrap_or_default()
    }

    /// Checks each event on its own.
    fn check(self) -> CheckedBatch {
        let (mut verbatim, mut respelled) = (true, false);
        let checked = self.events.iter().map(|span| {
            let event = Tape::parse(self.text_of(span));
            let form = signed_form(Spelling::AsWritten);
            verbatim &= event.text_in(form, Tape::ROOT).is_some();
            respelled |= event.is_respelled(Tape::ROOT);
            check_event(&event, span).map(|()| CheckedEvent::new(&event))
        });
        let events = checked.collect();
        CheckedBatch {
            batch: self,
            events,
            verbatim,
            respelled,
        }
    }
}

impl Worker {
    /// Starts a worker for each processor, or as many as the system allows. A single processor
    /// needs none.
    fn start_all<'scope>(scope: &'scope Scope<'scope, '_>) -> Vec<Self> {
        match thread::available_parallelism().map_or(1, NonZero::get) {
            1 => Vec::new(),
            many => (0..many.min(MAX_WORKERS))
                .map_while(|_| Self::start(scope))
                .collect(),
        }
    }

    fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Option<Self> {
        let (batches, to_check) = sync_channel::<EventBatch>(BATCHES_PER_WORKER);
        let (results, checked) = sync_channel(BATCHES_PER_WORKER);
        let check_all = move || {
            while let Ok(batch) = to_check.recv() {
                if results.send(batch.check()).is_err() {
                    return;
                }
            }
        };
        let started = thread::Builder::new().spawn_scoped(scope, check_all);
        started.ok().map(|_| Self { batches, checked })
    }
}

fn check_event(event: &Tape<'_>, span: &EventSpan) -> Result<(), BundleError> {
    if event.kind(Tape::ROOT) == Some(Kind::Object) {
        return check_value(event, span.at, Some(span.index));
    }
    Err(BundleError::Malformed {
        at: span.at,
        event: Some(span.index),
        why: "an event is not an object".into(),
    })
}
