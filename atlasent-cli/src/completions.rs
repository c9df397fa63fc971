//! `atlasent completions`: the script that teaches a shell to complete the commands.

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use crate::cli;
use crate::exit::Failure;
use crate::output::Output;

/// Print the script that completes `atlasent` in a shell
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell to print it for
    shell: Supported,
}

const EXAMPLES: &str = "\
Examples:
  source <(atlasent completions bash)
  atlasent completions zsh > \"${fpath[1]}/_atlasent\"
  atlasent completions fish > ~/.config/fish/completions/atlasent.fish";

/// The shells that we print a script for.
#[derive(Clone, Copy, ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script of the shell that was asked for.
pub(crate) fn run(arguments: &Completions) -> Result<Output, Failure> {
    let shell = match arguments.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::tree(), cli::NAME, &mut script);
    Ok(Output::new(String::from_utf8_lossy(&script)))
}
