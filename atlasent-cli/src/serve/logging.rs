//! What a server writes to standard error, and how.

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The part of `serve` that is about logs.
#[derive(Args)]
pub(crate) struct Logging {
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: Format,

    /// The least important lines that are written
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: Importance,

    /// Write a line for each request: its id, endpoint, status, key and time
    #[arg(long)]
    access_log: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Importance {
    Error,
    Warn,
    Info,
    Debug,
}

impl Logging {
    /// Writes from here on.
    pub(super) fn start(&self) {
        let level = match self.log_level {
            Importance::Error => Level::ERROR,
            Importance::Warn => Level::WARN,
            Importance::Info => Level::INFO,
            Importance::Debug => Level::DEBUG,
        };
        let access = match self.access_log {
            true => LevelFilter::INFO,
            false => LevelFilter::OFF,
        };
        let targets = Targets::new()
            .with_target("atlasent", level)
            .with_target("atlasent_authority", level)
            .with_target("atlasent::access", access)
            .with_default(LevelFilter::WARN);
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        let lines = match self.log {
            Format::Text => lines.boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        // Fails only where somebody writes already, and then they do.
        let _ = registry().with(lines.with_filter(targets)).try_init();
    }
}
