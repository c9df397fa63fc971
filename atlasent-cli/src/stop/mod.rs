//! `atlasent stop` and `atlasent resume`: a switch that denies what it covers, permits that are
//! already out included.

mod resume;
mod set;

pub(crate) use resume::{Resume, run as resume};
pub(crate) use set::{Stop, run as stop};

use atlasent::client::StopInfo;
use atlasent::wire::StopScope;
use clap::Args;

use crate::exit::Failure;
use crate::output::harmless;

/// What is stopped, or goes on: one of these.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct Scope {
    /// Everything that this agent does
    #[arg(long, value_name = "AGENT", alias = "actor-id")]
    agent: Option<String>,

    /// This action of all agents
    #[arg(long, value_name = "ACTION", alias = "action-type")]
    action: Option<String>,

    /// Every action of every agent
    #[arg(long)]
    all: bool,
}

impl Scope {
    fn read(&self) -> Result<Option<StopScope>, Failure> {
        let scope = match (&self.agent, &self.action) {
            (Some(agent), _) => StopScope::agent(agent.as_str()),
            (_, Some(action)) => StopScope::action(action.as_str()),
            _ => return Ok(self.all.then(StopScope::all)),
        };
        scope.map(Some).map_err(Failure::misuse)
    }
}

/// One line for a stop.
fn line(stop: &StopInfo) -> String {
    let mut line = format!("{}  {}: {}", stop.id, stop.scope, stop.reason);
    if let Some(since) = &stop.created_at {
        line.push_str(&format!(", since {since}"));
    }
    if let Some(end) = &stop.expires_at {
        line.push_str(&format!(", until {end}"));
    }
    format!("{}\n", harmless(&line))
}

/// The same as JSON.
fn json(stop: &StopInfo) -> serde_json::Value {
    let mut json = serde_json::to_value(&stop.scope).unwrap_or_default();
    let fields = [
        ("id", Some(&stop.id)),
        ("reason", Some(&stop.reason)),
        ("created_at", stop.created_at.as_ref()),
        ("created_by", stop.created_by.as_ref()),
        ("expires_at", stop.expires_at.as_ref()),
    ];
    for (name, value) in fields {
        if let (Some(json), Some(value)) = (json.as_object_mut(), value) {
            json.insert(name.to_owned(), value.as_str().into());
        }
    }
    json
}
