//! `atlasent completions`: prints a completion script for a shell.

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use crate::cli;
use crate::exit::Failure;
use crate::output::Output;

/// Print a script that completes commands and options of `atlasent` in a shell
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell that runs the script
    shell: SupportedShell,
}

const EXAMPLES: &str = "\
Examples:
  source <(atlasent completions bash)
  atlasent completions zsh > \"${fpath[1]}/_atlasent\"
  atlasent completions fish > ~/.config/fish/completions/atlasent.fish";

/// The shells with a completion script.
#[derive(Clone, Copy, ValueEnum)]
enum SupportedShell {
    Bash,
    Zsh,
    Fish,
}

/// Returns the completion script of the requested shell.
pub(crate) fn run(arguments: &Completions) -> Result<Output, Failure> {
    let shell = match arguments.shell {
        SupportedShell::Bash => Shell::Bash,
        SupportedShell::Zsh => Shell::Zsh,
        SupportedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command_tree(), cli::NAME, &mut script);
    Ok(Output::new(String::from_utf8_lossy(&script)))
}
