//! The progress bar of `audit verify` for large bundles, on a terminal.

use std::io::{self, IsTerminal};

use atlasent::audit::{Phase, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// The size in bytes above which a bundle gets a progress bar. Smaller bundles verify too fast.
const MIN_BYTES: u64 = 4 * 1024 * 1024;

/// A progress bar on standard error, removed when verification ends.
pub(super) struct VerifyProgress {
    /// Whether standard error is a terminal. A log gets no progress bar.
    on_terminal: bool,
    bar: Option<ProgressBar>,
}

impl VerifyProgress {
    pub(super) fn on_stderr() -> Self {
        Self {
            on_terminal: io::stderr().is_terminal(),
            bar: None,
        }
    }

    /// Updates the progress bar of a large bundle on a terminal.
    pub(super) fn update(&mut self, now: Progress) {
        if !self.on_terminal || now.total_bytes.unwrap_or(now.bytes) <= MIN_BYTES {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| new_bar(now.total_bytes));
        bar.set_message(match now.phase {
            Phase::Chain => "chain",
            Phase::Signature => "signature",
        });
        bar.set_position(now.bytes);
    }
}

impl Drop for VerifyProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Creates a progress bar, or a spinner if the size is unknown, as for standard input.
fn new_bar(total: Option<u64>) -> ProgressBar {
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
