//! `atlasent stop` and `atlasent resume`: set, list and lift stops, which deny requests and
//! invalidate issued permits.

mod resume;
mod set;

pub(crate) use resume::{Resume, run as resume};
pub(crate) use set::{Stop, run as stop};

use atlasent::client::StopInfo;
use atlasent::wire::StopScope;
use clap::Args;

use crate::exit::Failure;
use crate::output::escaped;

/// The scope of a stop: one of `--agent`, `--action` and `--all`.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct ScopeArgs {
    /// All actions of this agent
    #[arg(long, value_name = "AGENT", alias = "actor-id")]
    agent: Option<String>,

    /// This action, for all agents
    #[arg(long, value_name = "ACTION", alias = "action-type")]
    action: Option<String>,

    /// All actions of all agents
    #[arg(long)]
    all: bool,
}

impl ScopeArgs {
    /// Returns the scope, or `None` without any of the options.
    fn stop_scope(&self) -> Result<Option<StopScope>, Failure> {
        let scope = match (&self.agent, &self.action) {
            (Some(agent), _) => StopScope::agent(agent.as_str()),
            (_, Some(action)) => StopScope::action(action.as_str()),
            _ => return Ok(self.all.then(StopScope::all)),
        };
        scope.map(Some).map_err(Failure::misuse)
    }
}

/// Formats a stop as one line.
fn as_line(stop: &StopInfo) -> String {
    let mut line = stop.id.clone();
    if let Some(environment) = &stop.environment {
        line.push_str(&format!("  {environment}"));
    }
    line.push_str(&format!("  {}: {}", stop.scope, stop.reason));
    if let Some(since) = &stop.created_at {
        line.push_str(&format!(", since {since}"));
    }
    if let Some(end) = &stop.expires_at {
        line.push_str(&format!(", until {end}"));
    }
    format!("{}\n", escaped(&line))
}

/// Formats a stop as a JSON object.
fn as_json(stop: &StopInfo) -> serde_json::Value {
    let mut json = serde_json::to_value(&stop.scope).unwrap_or_default();
    let fields = [
        ("id", Some(&stop.id)),
        ("reason", Some(&stop.reason)),
        ("created_at", stop.created_at.as_ref()),
        ("created_by", stop.created_by.as_ref()),
        ("expires_at", stop.expires_at.as_ref()),
        ("environment", stop.environment.as_ref()),
    ];
    for (name, value) in fields {
        if let (Some(json), Some(value)) = (json.as_object_mut(), value) {
            json.insert(name.to_owned(), value.as_str().into());
        }
    }
    json
}
