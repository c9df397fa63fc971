//! `atlasent org set`: changes the name and the limits of an organization.

use atlasent_authority::organizations::Organization;
use atlasent_authority::store::OrgId;
use clap::Args;

use super::limits::Properties;
use super::list::line;
use super::parse_id_but_local;
use super::store::OrgStore;
use crate::exit::Failure;
use crate::location::Location;
use crate::output::Output;

/// Change the name or the limits of an organization
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent org set acme --rate-limit 6000 --max-events 1000000
  atlasent org set acme --rate-limit none --name 'Acme Inc.'

Prints the organization as `org list` does. A running server applies the change within 1 second."
)]
pub(super) struct Set {
    /// The id of the organization
    #[arg(value_name = "ID", value_parser = parse_id_but_local)]
    id: OrgId,

    #[command(flatten)]
    properties: Properties,

    #[command(flatten)]
    location: Location,
}

/// Changes the organization.
pub(super) async fn run(arguments: &Set) -> Result<Output, Failure> {
    if arguments.properties.is_empty() {
        return Err(Failure::misuse(
            "nothing to change: give `--name`, `--rate-limit`, `--max-permits`, `--max-approvals`, `--max-events` or `--retain-days`",
        ));
    }
    let registry = OrgStore::new(&arguments.location.open().await?);
    let change = arguments.properties.change();
    let edit = move |organization: &mut Organization| {
        change(organization);
        line(organization)
    };
    Ok(Output::new(registry.change(&arguments.id, edit).await?))
}
