//! `atlasent audit verify`: whether a signed export is what its author exported.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use atlasent::audit::{BundleReport, BundleVerifier};
use clap::Args;

use super::keys::Keys;
use super::progress::Bar;
use super::report::{Expected, Verdict};
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
  atlasent audit verify december.json --after november.json --key signing-key.pem
  atlasent audit verify december.json --expect-head head.json --key signing-key.pem

A file of keys holds one of
  a public key in PEM (SPKI), which is then called pem_0, pem_1 and so on
  the answer of GET /v1-signing-keys, or one of its keys
  a JWK with a `kid`, or a set of them
Whoever can forge an export may be able to forge keys that come with it: take them another way.

Exit codes:
  0  verified and intact; with --chain-only, the chain is intact
  1  not: the report says why
  2  the bundle or a key cannot be read
A bundle continues another, or a head, when it contains the last event of that, or begins right after it.
Without a key nobody vouches for what is in the bundle, and the exit code is 1. An extract, such as the events of one
agent alone, has gaps in its chain: its signature may be good, and it is not verified.")]
pub(crate) struct Verify {
    /// The bundle, or `-` for standard input
    #[arg(value_name = "BUNDLE|-")]
    bundle: OsString,

    /// A file of public keys to trust; repeatable
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// An older bundle that this one has to continue
    #[arg(long, value_name = "BUNDLE", conflicts_with = "expect_head")]
    after: Option<PathBuf>,

    /// A signed head (`atlasent audit head`) that the bundle has to continue
    #[arg(long, value_name = "FILE")]
    expect_head: Option<PathBuf>,

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
    let expected = expected(arguments, &keys)?;
    let verdict = Verdict {
        report: &check(arguments, &keys, expected.as_ref())?,
        keys: &keys,
        chain_only: arguments.chain_only,
        expected: expected.as_ref(),
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

/// The head that the bundle has to continue, if one is named: that of an older bundle, or a signed one. Each is checked first.
fn expected(arguments: &Verify, keys: &Keys) -> Result<Option<Expected>, Failure> {
    if let Some(path) = &arguments.expect_head {
        let head = super::head::read(path)?;
        let name = format!("the head of `{}`", path.display());
        if !arguments.chain_only {
            let good = head.verify(&keys.trusted);
            good.map_err(|error| Failure::refused(format!("{name}: {error}")))?;
        }
        return Ok(Some(Expected {
            name,
            org_id: Some(head.org_id),
            sequence: head.sequence,
            hash: head.hash,
        }));
    }
    let Some(path) = &arguments.after else {
        return Ok(None);
    };
    let file = path.display();
    let mut verifier = BundleVerifier::new(&keys.trusted);
    let report = verifier
        .verify_path(path)
        .map_err(|error| Failure::misuse(format!("`{file}`: {error}")))?;
    let good = match arguments.chain_only {
        true => report.chain.is_intact(),
        false => report.is_intact(),
    };
    if !good {
        return Err(Failure::refused(format!(
            "`{file}`, the older bundle, does not verify by itself, so nothing can be compared with it: \
             run `atlasent audit verify` on it alone"
        )));
    }
    let last = report.chain.last.as_ref();
    let head = last.and_then(|last| Some((last.sequence?, last.hash.clone()?)));
    let Some((sequence, hash)) = head else {
        return Err(Failure::refused(format!(
            "`{file}`, the older bundle, has no event, so nothing can be compared with it"
        )));
    };
    Ok(Some(Expected {
        name: format!("the last event of `{file}`"),
        org_id: report.org_id,
        sequence,
        hash,
    }))
}

fn check(
    arguments: &Verify,
    keys: &Keys,
    expected: Option<&Expected>,
) -> Result<BundleReport, Failure> {
    let mut bar = Bar::on_stderr();
    let mut verifier = BundleVerifier::new(&keys.trusted).on_progress(|now| bar.show(now));
    if let Some(head) = expected {
        verifier = verifier.expect_head(head.sequence, &head.hash);
    }
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
