//! Progress of the check of a bundle, and how often it is reported.

/// How many bytes lie between two reports.
const REPORT_INTERVAL: u64 = 256 * 1024;

/// The progress of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// The number of events checked so far. It stays the same during [`Phase::Signature`].
    pub events: u64,
    /// The position in the bundle that this phase has reached, in bytes.
    pub bytes: u64,
    /// The size of the bundle in bytes. `None` if the bundle comes from a reader.
    pub total_bytes: Option<u64>,
}

/// The two passes over a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The first pass, which checks the chain.
    Chain,
    /// The second pass, which checks the signature. A bundle without a signature has no second
    /// pass.
    Signature,
}

impl Progress {
    /// Creates the progress of the first pass.
    pub(super) fn chain(events: u64, bytes: u64) -> Self {
        Self {
            phase: Phase::Chain,
            events,
            bytes,
            total_bytes: None,
        }
    }

    /// Creates the progress of the second pass.
    pub(super) fn signature(bytes: u64) -> Self {
        Self {
            phase: Phase::Signature,
            ..Self::chain(0, bytes)
        }
    }
}

/// Passes progress on to the caller's function, at most once for each [`REPORT_INTERVAL`].
pub(super) struct ProgressReporter<'a, F: ?Sized> {
    callback: Option<&'a mut F>,
    total_bytes: Option<u64>,
    last: Progress,
}

impl<'a, F: FnMut(Progress) + ?Sized> ProgressReporter<'a, F> {
    pub(super) fn new(callback: Option<&'a mut F>, total_bytes: Option<u64>) -> Self {
        Self {
            callback,
            total_bytes,
            last: Progress::chain(0, 0),
        }
    }

    /// Reports `now` if a new phase began, or enough bytes passed since the last report.
    pub(super) fn update(&mut self, now: Progress) {
        if now.phase != self.last.phase || now.bytes >= self.last.bytes + REPORT_INTERVAL {
            self.report(now);
        }
    }

    /// Reports `now`. The number of events never decreases, although a repeated `events` key starts
    /// a new count.
    pub(super) fn report(&mut self, now: Progress) {
        self.last = Progress {
            events: now.events.max(self.last.events),
            total_bytes: self.total_bytes,
            ..now
        };
        if let Some(callback) = &mut self.callback {
            callback(self.last);
        }
    }
}
