//! The options that filter events: `--type`, `--agent`, `--since` and `--until`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;

use atlasent::client;
use atlasent_authority as authority;

/// The options that filter events, shared by `audit export` and `audit tail`.
#[derive(Args)]
pub(super) struct FilterArgs {
    /// Only events of this type, such as evaluate.deny; repeatable [default: all types]
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(authority::trail::EVENT_TYPES), hide_possible_values = true)]
    types: Vec<String>,

    /// Only events of this agent [default: all agents]
    #[arg(long, value_name = "AGENT", alias = "actor")]
    agent: Option<String>,

    /// Only events at or after this time, such as 2026-11-01T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) since: Option<Timestamp>,

    /// Only events at or before this time, such as 2026-11-30T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
}

fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse()
        .map_err(|_| "invalid time: write it as in `2026-11-01T09:00:00Z`")
}

impl FilterArgs {
    /// Returns the filter for a request to a server.
    pub(super) fn for_server(&self) -> client::EventFilter {
        let mut filter = client::EventFilter::default().types(&self.types);
        if let Some(agent) = &self.agent {
            filter = filter.actor_id(agent);
        }
        if let Some(since) = self.since {
            filter = filter.since(since.to_string());
        }
        if let Some(until) = self.until {
            filter = filter.until(until.to_string());
        }
        filter
    }

    /// Returns the filter for reading a store.
    pub(super) fn for_store(&self) -> authority::trail::EventFilter {
        let mut filter = authority::trail::EventFilter::default().types(&self.types);
        if let Some(agent) = &self.agent {
            filter = filter.actor_id(agent);
        }
        if let Some(since) = self.since {
            filter = filter.since(since);
        }
        if let Some(until) = self.until {
            filter = filter.until(until);
        }
        filter
    }
}
