//! `atlasent stop` and `atlasent resume`: a switch that denies what it covers, permits that are
//! already out included.

mod resume;
mod set;

pub(crate) use resume::{Resume, run as resume};
pub(crate) use set::{Stop, run as stop};

use atlasent::client::{StopInfo, StopScope};
use clap::Args;

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
    fn read(&self) -> Option<StopScope> {
        match (&self.agent, &self.action) {
            (Some(agent), _) => Some(StopScope::Agent(agent.clone())),
            (_, Some(action)) => Some(StopScope::Action(action.clone())),
            _ => self.all.then_some(StopScope::All),
        }
    }
}

/// One line for a stop.
fn line(stop: &StopInfo) -> String {
    let scope = match &stop.scope {
        StopScope::Agent(agent) => format!("agent {agent}"),
        StopScope::Action(action) => format!("action {action}"),
        StopScope::All => "everything".to_owned(),
    };
    let mut line = format!("{}  {scope}: {}", stop.id, stop.reason);
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
    let mut json = serde_json::json!({ "id": stop.id, "reason": stop.reason });
    let (name, value) = match &stop.scope {
        StopScope::Agent(agent) => ("agent_id", agent.clone().into()),
        StopScope::Action(action) => ("action_type", action.clone().into()),
        StopScope::All => ("all", true.into()),
    };
    let more = [
        (name, Some(value)),
        ("created_at", stop.created_at.clone().map(Into::into)),
        ("created_by", stop.created_by.clone().map(Into::into)),
        ("expires_at", stop.expires_at.clone().map(Into::into)),
    ];
    if let Some(fields) = json.as_object_mut() {
        for (name, value) in more {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    json
}
