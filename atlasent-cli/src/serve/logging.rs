//! The server's log on standard error: its format and its levels.

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The options of long-running commands for their log.
#[derive(Args)]
pub(crate) struct Logging {
    /// The format of the log on standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: LogFormat,

    /// The minimum level of log lines
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,

    /// Log each request with its id, endpoint, status, API key id and duration
    #[arg(long)]
    access_log: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl Logging {
    /// Installs the subscriber that writes the log.
    pub(crate) fn install(&self) {
        let level = match self.log_level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        };
        let access = match self.access_log {
            true => LevelFilter::INFO,
            false => LevelFilter::OFF,
        };
        let targets = Targets::new()
            .with_target("atlasent", level)
            .with_target("atlasent_authority", level)
            .with_target("atlasent_mcp", level)
            .with_target("atlasent::access", access)
            .with_default(LevelFilter::WARN);
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        let lines = match self.log {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // Fails only if a subscriber is installed already, which then writes the log.
        let _ = registry().with(lines.with_filter(targets)).try_init();
    }
}
