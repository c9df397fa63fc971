//! Which events are meant: `--type`, `--agent`, `--since` and `--until`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;

use atlasent::client;
use atlasent_authority as authority;

/// The part of a command that says which events are meant.
#[derive(Args)]
pub(super) struct Filter {
    /// Only events of this type, such as evaluate.deny; repeatable
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(authority::trail::EVENT_TYPES), hide_possible_values = true)]
    types: Vec<String>,

    /// Only events of this agent
    #[arg(long, value_name = "AGENT", alias = "actor")]
    agent: Option<String>,

    /// Only events at or after this time (ISO 8601)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) since: Option<Timestamp>,

    /// Only events at or before this time (ISO 8601)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse()
        .map_err(|_| "write a time as in `2026-11-01T09:00:00Z`")
}

impl Filter {
    /// As a server is asked.
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

    /// As a store is asked.
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
