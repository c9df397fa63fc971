//! `atlasent org`: the organizations of an authority on this machine.

mod create;
mod limits;
mod list;
mod policies;
mod resume;
mod set;
mod store;
mod suspend;

use atlasent_authority::organizations::OrgFileError;
use atlasent_authority::store::OrgId;
use clap::{Args, Subcommand};

pub(crate) use store::OrgStore;

use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;

/// Create, list, change and suspend the organizations of `atlasent serve`
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Org {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Create(create::Create),
    List(list::List),
    Set(set::Set),
    Suspend(suspend::Suspend),
    Resume(resume::Resume),
}

const START: &str = "\
An organization has API keys, policies, permits, stops and an audit trail of its own; nothing of it is visible to
another one. Every server has the organization `local`, which needs none of these commands. A running server applies a
change within 1 second. Servers that share a database keep their organizations in it: set `--store-env` to the variable
with its URL.";

/// Runs the `org` command that the arguments name.
pub(crate) fn run(arguments: &Org) -> Result<Output, Failure> {
    runtime::run(async {
        match &arguments.command {
            Command::Create(arguments) => create::run(arguments).await,
            Command::List(arguments) => list::run(arguments).await,
            Command::Set(arguments) => set::run(arguments).await,
            Command::Suspend(arguments) => suspend::run(arguments).await,
            Command::Resume(arguments) => resume::run(arguments).await,
        }
    })
}

/// Reads the id of an organization from an argument.
pub(crate) fn parse_id(text: &str) -> Result<OrgId, String> {
    text.parse()
        .map_err(|error: atlasent_authority::store::InvalidOrgId| error.to_string())
}

/// Reads the id of an organization that the registry may hold.
fn parse_id_but_local(text: &str) -> Result<OrgId, String> {
    match parse_id(text)? {
        id if id.is_local() => Err(OrgFileError::Local.to_string()),
        id => Ok(id),
    }
}
