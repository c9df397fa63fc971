//! `atlasent org suspend`: suspends an organization.

use atlasent_authority::organizations::{Organization, Suspension};
use atlasent_authority::store::OrgId;
use clap::Args;

use super::parse_id_but_local;
use super::store::OrgStore;
use crate::exit::Failure;
use crate::location::Location;
use crate::output::Output;

/// Suspend an organization: refuse every request with one of its API keys
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent org suspend acme --reason 'incident 4711'

A running server refuses the requests within 1 second, with the code ORGANIZATION_SUSPENDED. `atlasent org resume` ends
the suspension."
)]
pub(super) struct Suspend {
    /// The id of the organization
    #[arg(value_name = "ID", value_parser = parse_id_but_local)]
    id: OrgId,

    /// The reason, shown by `org list --json`
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    location: Location,
}

/// Suspends the organization.
pub(super) async fn run(arguments: &Suspend) -> Result<Output, Failure> {
    let (id, reason) = (&arguments.id, arguments.reason.clone());
    if reason.trim().is_empty() {
        return Err(Failure::misuse("`--reason` is empty: give a reason"));
    }
    let registry = OrgStore::new(&arguments.location.open().await?);
    let suspend = move |organization: &mut Organization| match organization.suspended {
        Some(_) => false,
        None => {
            organization.suspended = Some(Suspension::new(reason.clone()));
            true
        }
    };
    match registry.change(id, suspend).await? {
        true => Ok(Output::new(format!("suspended {id}\n"))),
        false => Err(Failure::misuse(format!(
            "the organization `{id}` is suspended already: `atlasent org list --json` shows since when and why"
        ))),
    }
}
