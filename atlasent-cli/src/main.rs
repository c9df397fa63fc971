//! The `atlasent` command: reads the arguments, runs one command, prints what it returns.
//!
//! A command prints nothing itself, unless it goes on for long. It returns an [`Output`](output::Output) or a
//! [`Failure`](exit::Failure), so that nothing half reaches standard output, and every failure has one exit code.

#![forbid(unsafe_code)]

mod audit;
mod cli;
mod completions;
mod data;
mod duration;
mod evaluate;
mod exit;
mod files;
mod json;
mod key;
mod output;
mod policy;
mod runtime;
mod serve;
mod server;
mod signing_key;
mod stop;
mod store;
mod token;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::finish(cli::run(std::env::args_os()))
}
