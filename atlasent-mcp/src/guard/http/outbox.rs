//! The messages of one stream to a client, kept for a while so that the stream can be resumed.
//!
//! A connection reads an outbox by position, so a client that reconnects with `Last-Event-ID` reads
//! on where it was. The id of an event is the number of its outbox and its position:
//!
//! ```text
//! id: 3-0       no message: who reconnects with this id reads the outbox 3 from its start
//! id: 3-17      the event 17 of the outbox 3
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::guard::limits::Limits;

/// The position of the first event. The position before it is that of the primer.
const FIRST: u64 = 1;

/// The messages of one stream.
#[derive(Debug)]
pub(super) struct Outbox {
    number: u64,
    /// The most events, and the most bytes of several events.
    max_events: usize,
    max_bytes: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
    next: u64,
    is_complete: bool,
    /// The position after the last event that a connection took.
    taken: u64,
    /// The number of connections that read it.
    readers: usize,
    /// Counts the connections that took the stream over.
    turn: u64,
}

/// What a connection reads next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The event at a position.
    Event {
        position: u64,
        text: Arc<str>,
        is_last: bool,
    },
    /// Nothing comes any more.
    End,
}

impl Outbox {
    pub(super) fn new(number: u64, limits: &Limits) -> Self {
        Self {
            number,
            max_events: limits.resumable_messages,
            max_bytes: limits.resumable_bytes,
            state: Mutex::new(State {
                next: FIRST,
                ..State::default()
            }),
            changed: Notify::new(),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Adds a message. The oldest ones go when a client does not read.
    pub(super) fn push(&self, text: Arc<str>, is_last: bool) {
        let mut state = self.state();
        if state.is_complete {
            return;
        }
        state.bytes += text.len();
        let position = state.next;
        state.next += 1;
        state.events.push_back((position, text));
        state.is_complete = is_last;
        while state.events.len() > 1
            && (state.events.len() > self.max_events || state.bytes > self.max_bytes)
        {
            if let Some((_, dropped)) = state.events.pop_front() {
                state.bytes -= dropped.len();
                tracing::debug!("dropped a message of a stream that nobody reads");
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Ends the stream.
    pub(super) fn complete(&self) {
        self.state().is_complete = true;
        self.changed.notify_waiters();
    }

    /// Returns the bytes of the messages that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Whether the stream is over and has no event at `position` or after it.
    pub(super) fn is_over_at(&self, position: u64) -> bool {
        let state = self.state();
        let last = state.events.back();
        state.is_complete && last.is_none_or(|(last, _)| *last < position)
    }

    /// Whether a connection reads the stream.
    pub(super) fn is_read(&self) -> bool {
        self.state().readers > 0
    }

    /// Returns the first event at `position` or after it, when there is one. A reader whose turn is
    /// over reads nothing more.
    async fn next(&self, position: u64, turn: u64) -> Next {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the state is read, so that no change in between is missed.
            changed.as_mut().enable();
            if let Some(next) = self.now(position, turn) {
                return next;
            }
            changed.await;
        }
    }

    fn now(&self, position: u64, turn: u64) -> Option<Next> {
        let mut state = self.state();
        if state.turn != turn {
            return Some(Next::End);
        }
        let found = state.events.iter().find(|(at, _)| *at >= position).cloned();
        match found {
            Some((position, text)) => {
                state.taken = position + 1;
                Some(Next::Event {
                    position,
                    text,
                    is_last: state.is_complete && position + 1 == state.next,
                })
            }
            None => state.is_complete.then_some(Next::End),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that reads an outbox.
#[derive(Debug)]
pub(super) struct Reader {
    outbox: Arc<Outbox>,
    position: u64,
    turn: u64,
}

impl Reader {
    /// Takes a stream over, from a position on or from the first event that no connection took. The
    /// connection that read it before ends, so that no message is sent twice.
    pub(super) fn new(outbox: Arc<Outbox>, position: Option<u64>) -> Self {
        let mut state = outbox.state();
        state.readers += 1;
        state.turn += 1;
        let (turn, position) = (state.turn, position.unwrap_or(state.taken));
        drop(state);
        outbox.changed.notify_waiters();
        Self {
            outbox,
            position,
            turn,
        }
    }

    pub(super) async fn next(&mut self) -> Next {
        let next = self.outbox.next(self.position, self.turn).await;
        if let Next::Event { position, .. } = &next {
            self.position = position + 1;
        }
        next
    }

    /// Forgets the messages: the client got no id of an event by which it could come back.
    pub(super) fn forget(&self) {
        let mut state = self.outbox.state();
        state.events.clear();
        state.bytes = 0;
    }

    /// Writes the event without data by which a client can come back before it got a message.
    pub(super) fn primer(&self) -> String {
        format!("id: {}-{}\ndata:\n\n", self.outbox.number, FIRST - 1)
    }

    /// Writes an event for this reader's stream.
    pub(super) fn event(&self, position: u64, text: &str) -> String {
        format!(
            "id: {}-{position}\nevent: message\ndata: {text}\n\n",
            self.outbox.number
        )
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.outbox.state().readers -= 1;
    }
}

/// Reads the id of an event: the number of its outbox and its position.
pub(super) fn parse_event_id(text: &str) -> Option<(u64, u64)> {
    let (outbox, position) = text.split_once('-')?;
    Some((outbox.parse().ok()?, position.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    fn texts(outbox: &Arc<Outbox>, position: Option<u64>) -> Vec<String> {
        let mut reader = Reader::new(Arc::clone(outbox), position);
        let mut all = Vec::new();
        while let Next::Event { text, is_last, .. } = block_on(reader.next()) {
            all.push(text.to_string());
            if is_last {
                break;
            }
        }
        all
    }

    #[test]
    fn a_reader_that_comes_back_reads_on_where_it_was() {
        let outbox = Arc::new(Outbox::new(3, &Limits::default()));
        for text in ["a", "b", "c"] {
            outbox.push(text.into(), text == "c");
        }
        assert_eq!(texts(&outbox, Some(FIRST)), ["a", "b", "c"]);
        assert_eq!(texts(&outbox, Some(3)), ["c"]);
        assert_eq!(texts(&outbox, None), [""; 0]);
        assert!(!outbox.is_over_at(3) && outbox.is_over_at(4));
        assert_eq!(parse_event_id("3-17"), Some((3, 17)));
        assert_eq!(parse_event_id("3"), None);
    }

    #[test]
    fn a_client_that_got_the_primer_alone_reads_the_stream_from_its_start() {
        let outbox = Arc::new(Outbox::new(3, &Limits::default()));
        let primer = Reader::new(Arc::clone(&outbox), None).primer();
        assert_eq!(primer, "id: 3-0\ndata:\n\n");
        outbox.push("a".into(), false);
        outbox.push("b".into(), true);
        let (number, position) = parse_event_id("3-0").unwrap();
        assert_eq!(number, outbox.number());
        assert!(!outbox.is_over_at(position + 1));
        assert_eq!(texts(&outbox, Some(position + 1)), ["a", "b"]);
        // Of a request that was cancelled, nothing comes.
        let cancelled = Outbox::new(4, &Limits::default());
        assert!(!cancelled.is_over_at(FIRST));
        cancelled.complete();
        assert!(cancelled.is_over_at(FIRST));
    }

    #[test]
    fn a_connection_that_takes_a_stream_over_ends_the_former_one() {
        let outbox = Arc::new(Outbox::new(3, &Limits::default()));
        let mut former = Reader::new(Arc::clone(&outbox), None);
        outbox.push("a".into(), false);
        assert!(matches!(block_on(former.next()), Next::Event { .. }));
        let mut later = Reader::new(Arc::clone(&outbox), None);
        outbox.push("b".into(), false);
        assert_eq!(block_on(former.next()), Next::End);
        assert!(matches!(
            block_on(later.next()),
            Next::Event { position: 2, .. }
        ));
    }

    #[test]
    fn a_response_that_no_client_can_come_back_to_is_not_kept() {
        let outbox = Arc::new(Outbox::new(3, &Limits::default()));
        outbox.push("a".into(), true);
        let mut reader = Reader::new(Arc::clone(&outbox), None);
        assert!(matches!(
            block_on(reader.next()),
            Next::Event { is_last: true, .. }
        ));
        assert_eq!(outbox.bytes(), 1);
        reader.forget();
        assert_eq!(outbox.bytes(), 0);
        assert_eq!(texts(&outbox, Some(0)), [""; 0]);
    }

    #[test]
    fn a_stream_that_nobody_reads_keeps_the_newest_messages() {
        let limits = Limits::default();
        let outbox = Arc::new(Outbox::new(0, &limits));
        let large: Arc<str> = "x".repeat(limits.resumable_bytes).into();
        for _ in 0..3 {
            outbox.push(Arc::clone(&large), false);
        }
        outbox.push("last".into(), true);
        assert_eq!(texts(&outbox, None), ["last"]);
        let limits = Limits {
            resumable_messages: 2,
            ..Limits::default()
        };
        let outbox = Arc::new(Outbox::new(0, &limits));
        for text in ["a", "b", "c"] {
            outbox.push(text.into(), text == "c");
        }
        assert_eq!(texts(&outbox, Some(0)), ["b", "c"]);
    }
}
