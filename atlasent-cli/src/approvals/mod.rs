//! `atlasent approvals`: what waits for approvers, and their votes.

mod access;
mod list;
mod show;
mod text;
mod vote;
mod watch;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// See what waits for approval, and approve or reject it
#[derive(Args)]
#[command(
    subcommand_required = true,
    after_help = "\
The API key is read from ATLASENT_API_KEY and needs the scope `approve`: create one for each approver with
`atlasent key create --approver NAME --role ROLE`. Approvers of an OpenID Connect issuer (`atlasent serve --oidc`) pass
the name of the variable that holds their token in place of a key: `--token-env NAME`.

The exit code is 1, with the server's reason, if the decision is unknown or was made, or if this person may not vote on
it. A key that is wrong, or lacks the scope, has the exit code 2."
)]
pub(crate) struct Approvals {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Approve(vote::Approve),
    Reject(vote::Reject),
    Watch(watch::Watch),
}

/// Runs the command.
pub(crate) fn run(arguments: &Approvals) -> Result<Output, Failure> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Approve(arguments) => vote::approve(arguments),
        Command::Reject(arguments) => vote::reject(arguments),
        Command::Watch(arguments) => watch::run(arguments),
    }
}
