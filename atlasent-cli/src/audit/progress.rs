//! How far the check of a large bundle is, for whoever waits at a terminal.

use std::io::{self, IsTerminal};

use atlasent::audit::{Phase, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// Anything smaller is checked before a bar could be read.
const LARGE: u64 = 4 * 1024 * 1024;

/// A bar on standard error, which is gone when the check is over.
pub(super) struct Bar {
    /// A log is no place for it.
    is_seen: bool,
    bar: Option<ProgressBar>,
}

impl Bar {
    pub(super) fn on_stderr() -> Self {
        Self {
            is_seen: io::stderr().is_terminal(),
            bar: None,
        }
    }

    /// Shows how far it is, if that is worth showing.
    pub(super) fn show(&mut self, now: Progress) {
        if !self.is_seen || now.total_bytes.unwrap_or(now.bytes) <= LARGE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| new(now.total_bytes));
        bar.set_message(match now.phase {
            Phase::Chain => "chain",
            Phase::Signature => "signature",
        });
        bar.set_position(now.bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// From standard input, nobody knows how much is still to come.
fn new(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg:9} [{bar:40}] {bytes}/{total_bytes}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg:9} {bytes}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
