//! The `atlasent` command: reads the arguments, runs one command, prints what it returns.
//!
//! A command prints nothing itself. It returns an [`Output`](output::Output) or a [`Failure`](exit::Failure), so nothing
//! reaches standard output of a command that fails, and every failure is one line with one exit code.

#![forbid(unsafe_code)]

mod cli;
mod completions;
mod data;
mod exit;
mod json;
mod key;
mod output;
mod serve;
mod token;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::finish(cli::run(std::env::args_os()))
}
