//! `atlasent audit verify`: whether a signed export is what its author exported.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use atlasent::audit::{BundleReport, BundleVerifier};
use clap::Args;

use super::keys::Keys;
use super::progress::Bar;
use super::report::Verdict;
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// Verify a signed export: its signature, and the chain of its events
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit verify export.json --key signing-key.pem
  atlasent audit verify export.json --key signing-keys.json --json
  curl -s https://host/export.json | atlasent audit verify - --key signing-key.pem
  atlasent audit verify export.json --chain-only

A file of keys holds one of
  a public key in PEM (SPKI), which is then called pem_0, pem_1 and so on
  the answer of GET /v1-signing-keys, or one of its keys
  a JWK with a `kid`, or a set of them
Whoever can forge an export may be able to forge keys that come with it: take them another way.

Exit codes:
  0  verified and intact; with --chain-only, the chain is intact
  1  not: the report says why
  2  the bundle or a key cannot be read
Without a key nobody vouches for what is in the bundle, and the exit code is 1. An extract, such as the events of one
agent alone, has gaps in its chain: its signature may be good, and it is not verified.")]
pub(crate) struct Verify {
    /// The bundle, or `-` for standard input
    #[arg(value_name = "BUNDLE|-")]
    bundle: OsString,

    /// A file of public keys to trust; repeatable
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Check the chain alone, whoever signed it
    #[arg(long)]
    chain_only: bool,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads the keys, checks the bundle, and reports. Keys that are no good are said first: without them no bundle can be judged.
pub(crate) fn run(arguments: &Verify) -> Result<Output, Failure> {
    if arguments.chain_only && !arguments.keys.is_empty() {
        return Err(Failure::misuse(
            "`--chain-only` checks no signature: leave it out, or leave out `--key`",
        ));
    }
    let keys = Keys::read(&arguments.keys)?;
    let verdict = Verdict {
        report: &check(arguments, &keys)?,
        keys: &keys,
        chain_only: arguments.chain_only,
    };
    let text = match arguments.json {
        true => json::for_stdout(&verdict.to_json()?),
        false => verdict.to_text(),
    };
    match verdict.is_good() {
        true => Ok(Output::new(text)),
        false => Err(Failure::Negative(Output::new(text))),
    }
}

fn check(arguments: &Verify, keys: &Keys) -> Result<BundleReport, Failure> {
    let mut bar = Bar::on_stderr();
    let mut verifier = BundleVerifier::new(&keys.trusted).on_progress(|now| bar.show(now));
    let checked = match arguments.bundle == "-" {
        true => verifier.verify_reader(io::stdin().lock()),
        false => verifier.verify_path(&arguments.bundle),
    };
    checked.map_err(|error| {
        let name = match arguments.bundle == "-" {
            true => "standard input".to_owned(),
            false => format!("`{}`", arguments.bundle.to_string_lossy()),
        };
        Failure::misuse(format!("{name}: {error}"))
    })
}
