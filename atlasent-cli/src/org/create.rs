//! `atlasent org create`: creates an organization with a folder for its policies.

use std::path::PathBuf;

use atlasent_authority::organizations::Organization;
use atlasent_authority::store::OrgId;
use clap::Args;

use super::limits::Properties;
use super::parse_id_but_local;
use super::policies::PolicyFolder;
use super::store::OrgStore;
use crate::exit::Failure;
use crate::location::Location;
use crate::output::{Output, escaped};

/// Create an organization, with a folder for its policies
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent org create acme
  atlasent org create acme --name 'Acme Inc.' --rate-limit 6000 --max-permits 10000 --retain-days 90
  atlasent org create acme --store-env DATABASE_URL --org-policies /etc/atlasent/organizations

The folder is DIR/ID with `--org-policies DIR`. It gets one policy, which denies every request, unless it has policies
already. With `--store-env` and without `--org-policies` no folder is created: each server has policies of its own."
)]
pub(super) struct Create {
    /// The id, which never changes: 1 to 64 of the characters a to z, 0 to 9, `-` and `_`; not
    /// `local`
    #[arg(value_name = "ID", value_parser = parse_id_but_local)]
    id: OrgId,

    #[command(flatten)]
    properties: Properties,

    /// The directory of the organizations' policies [default: organizations/ID/policies in the data
    /// directory]
    #[arg(long, value_name = "DIR")]
    org_policies: Option<PathBuf>,

    #[command(flatten)]
    location: Location,
}

/// Creates the organization.
pub(super) async fn run(arguments: &Create) -> Result<Output, Failure> {
    let id = &arguments.id;
    let place = arguments.location.create().await?;
    let registry = OrgStore::new(&place);
    let exists = || {
        Failure::misuse(format!(
            "the organization `{id}` exists already: change it with `atlasent org set`"
        ))
    };
    if registry.find(id).await?.is_some() {
        return Err(exists());
    }
    // The policies come first: a server that finds the organization finds them, too.
    let folder = PolicyFolder::new(arguments.org_policies.as_deref(), &place, id)?;
    let written = match &folder {
        Some(folder) => folder.start()?,
        None => None,
    };
    let mut organization = Organization::new(id.clone());
    arguments.properties.change()(&mut organization);
    if !registry.create(organization).await? {
        return Err(exists());
    }

    let mut lines = vec![format!("created {id}")];
    lines.extend(
        written.map(|file| format!("wrote {}, which denies every request", file.display())),
    );
    lines.push("Next, write its policies and create an API key:".to_owned());
    lines.push(match &folder {
        Some(folder) => format!("  policies: {}", folder.path().display()),
        None => format!(
            "  policies: `organizations/{id}/policies` in the data directory of each server"
        ),
    });
    lines.push(format!(
        "  atlasent key create --org {id}{}",
        arguments.location.options()
    ));
    let lines = lines.iter().map(|line| escaped(line) + "\n");
    Ok(Output::new(lines.collect::<String>()))
}
