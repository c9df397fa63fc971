//! `atlasent org resume`: ends the suspension of an organization.

use atlasent_authority::organizations::Organization;
use atlasent_authority::store::OrgId;
use clap::Args;

use super::parse_id_but_local;
use super::store::OrgStore;
use crate::exit::Failure;
use crate::location::Location;
use crate::output::Output;

/// End the suspension of an organization
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent org resume acme

A running server accepts the organization's API keys again within 1 second."
)]
pub(super) struct Resume {
    /// The id of the organization
    #[arg(value_name = "ID", value_parser = parse_id_but_local)]
    id: OrgId,

    #[command(flatten)]
    location: Location,
}

/// Ends the suspension.
pub(super) async fn run(arguments: &Resume) -> Result<Output, Failure> {
    let id = &arguments.id;
    let registry = OrgStore::new(&arguments.location.open().await?);
    let resume = |organization: &mut Organization| organization.suspended.take().is_some();
    match registry.change(id, resume).await? {
        true => Ok(Output::new(format!("resumed {id}\n"))),
        false => Err(Failure::misuse(format!(
            "the organization `{id}` is not suspended"
        ))),
    }
}
