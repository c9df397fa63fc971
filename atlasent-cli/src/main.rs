//! The `atlasent` program: parses the arguments, runs one command and prints its result.
//!
//! A command returns an [`Output`](output::Output) or a [`Failure`](exit::Failure) and prints
//! nothing itself, so that standard output never holds half a result and each failure has one exit
//! code. Long-running commands (`serve`, `audit tail`) print while they run.

#![forbid(unsafe_code)]

mod approvals;
mod audit;
mod boundary;
mod cli;
mod completions;
mod data_dir;
mod evaluate;
mod exit;
mod files;
mod guard;
mod hook;
mod json;
mod key;
mod location;
mod org;
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
mod variable;
mod webhook;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::finish(cli::run(std::env::args_os()))
}
