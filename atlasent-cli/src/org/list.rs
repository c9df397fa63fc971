//! `atlasent org list`: lists the organizations.

use atlasent_authority::organizations::Organization;
use clap::Args;
use serde_json::json;

use super::limits::as_text;
use super::store::OrgStore;
use crate::exit::Failure;
use crate::json;
use crate::location::Location;
use crate::output::{Output, escaped};

/// List the organizations but `local` by id, state, limits and name
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent org list
  atlasent org list --json"
)]
pub(super) struct List {
    /// Print the organizations as one JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    location: Location,
}

/// Lists the organizations.
pub(super) async fn run(arguments: &List) -> Result<Output, Failure> {
    let organizations = OrgStore::new(&arguments.location.open().await?)
        .all()
        .await?;
    if arguments.json {
        let organizations: Vec<_> = organizations.iter().map(as_json).collect();
        return Ok(Output::new(json::for_stdout(
            &serde_json::Value::from(organizations).to_string(),
        )));
    }
    if organizations.is_empty() {
        return Ok(Output::new(
            "no organizations but `local`: create one with `atlasent org create`\n",
        ));
    }
    Ok(Output::new(
        organizations.iter().map(line).collect::<String>(),
    ))
}

/// Returns the line of an organization.
pub(super) fn line(organization: &Organization) -> String {
    let line = format!(
        "{}  {:9}  {}  {}",
        organization.id,
        state(organization),
        as_text(organization),
        organization.name.as_deref().unwrap_or("-"),
    );
    escaped(&line) + "\n"
}

fn state(organization: &Organization) -> &'static str {
    match organization.suspended {
        Some(_) => "suspended",
        None => "good",
    }
}

fn as_json(organization: &Organization) -> serde_json::Value {
    let suspended = organization.suspended.as_ref();
    json!({
        "org_id": organization.id,
        "name": organization.name,
        "state": state(organization),
        "created_at": organization.created_at.to_string(),
        "suspended_at": suspended.map(|suspension| suspension.at.to_string()),
        "suspension_reason": suspended.map(|suspension| &suspension.reason),
        "rate_limit_per_minute": organization.limits.rate_limit_per_minute,
        "max_permits": organization.limits.max_permits,
        "max_approvals": organization.limits.max_approvals,
        "max_events": organization.limits.max_events,
        "retain_days": organization.retain_days,
    })
}
