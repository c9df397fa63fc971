//! `atlasent audit verify`: verifies the signature and the hash chain of an exported bundle.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use atlasent::audit::{BundleReport, BundleVerifier};
use clap::Args;

use super::keys::VerificationKeys;
use super::progress::VerifyProgress;
use super::report::{ExpectedHead, Verdict};
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// Verify a bundle of `audit export`: its signature and the hash chain of its events
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit verify export.json --key signing-key.pem
  atlasent audit verify export.json --key signing-keys.json --json
  curl -s https://host/export.json | atlasent audit verify - --key signing-key.pem
  atlasent audit verify export.json --chain-only
  atlasent audit verify december.json --after november.json --key signing-key.pem
  atlasent audit verify december.json --expect-head head.json --key signing-key.pem

A key file holds one of:
  a public key in PEM (SPKI); the keys of such files get the ids pem_0, pem_1 and so on
  the response of GET /v1-signing-keys, or one of its keys
  a JWK with a `kid`, or a JWK set
Get the keys over another channel than the bundle: a forger of the bundle can forge keys that come with it.

Exit codes:
  0  verified and intact; with --chain-only, the chain is intact
  1  not verified or not intact: the report has the reason
  2  the bundle or a key cannot be read
Without --key and --chain-only the signature is not checked, and the exit code is 1. An export of some types or of one
agent has gaps in its chain: it is not verified, even if its signature is valid. A bundle continues an older bundle, or
a head, if it contains the last event of that, or begins with the next event.")]
pub(crate) struct Verify {
    /// The file of the bundle, or `-` for standard input
    #[arg(value_name = "BUNDLE|-")]
    bundle: OsString,

    /// A file of trusted public keys; repeatable
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// An older bundle that the bundle must continue
    #[arg(long, value_name = "BUNDLE", conflicts_with = "expect_head")]
    after: Option<PathBuf>,

    /// A file with a signed head of `atlasent audit head` that the bundle must continue
    #[arg(long, value_name = "FILE")]
    expect_head: Option<PathBuf>,

    /// Check only the hash chain, not the signature
    #[arg(long)]
    chain_only: bool,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads the keys, verifies the bundle and reports. Errors in the keys are reported before the
/// bundle is read.
pub(crate) fn run(arguments: &Verify) -> Result<Output, Failure> {
    if arguments.chain_only && !arguments.keys.is_empty() {
        return Err(Failure::misuse(
            "`--chain-only` checks no signature, so it cannot be combined with `--key`: omit one of them",
        ));
    }
    let keys = VerificationKeys::read(&arguments.keys)?;
    let expected = expected_head(arguments, &keys)?;
    let verdict = Verdict {
        report: &verify_bundle(arguments, &keys, expected.as_ref())?,
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
        false => Err(Failure::NegativeResult(Output::new(text))),
    }
}

/// Reads and verifies the head that the bundle must continue: the signed head of `--expect-head`,
/// or the last event of the older bundle of `--after`.
fn expected_head(
    arguments: &Verify,
    keys: &VerificationKeys,
) -> Result<Option<ExpectedHead>, Failure> {
    if let Some(path) = &arguments.expect_head {
        let head = super::head::read(path)?;
        let name = format!("the head in `{}`", path.display());
        if !arguments.chain_only {
            let good = head.verify(&keys.trusted);
            good.map_err(|error| Failure::refused(format!("{name}: {error}")))?;
        }
        return Ok(Some(ExpectedHead {
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
            "the older bundle `{file}` does not verify, so the bundle cannot be compared with it: \
             run `atlasent audit verify` on the older bundle"
        )));
    }
    let last = report.chain.last.as_ref();
    let head = last.and_then(|last| Some((last.sequence?, last.hash.clone()?)));
    let Some((sequence, hash)) = head else {
        return Err(Failure::refused(format!(
            "the older bundle `{file}` has no events, so the bundle cannot be compared with it"
        )));
    };
    Ok(Some(ExpectedHead {
        name: format!("the last event of `{file}`"),
        org_id: report.org_id,
        sequence,
        hash,
    }))
}

fn verify_bundle(
    arguments: &Verify,
    keys: &VerificationKeys,
    expected: Option<&ExpectedHead>,
) -> Result<BundleReport, Failure> {
    let mut progress = VerifyProgress::on_stderr();
    let mut verifier = BundleVerifier::new(&keys.trusted).on_progress(|now| progress.update(now));
    if let Some(head) = expected {
        verifier = verifier.expect_head(head.sequence, &head.hash);
    }
    let verified = match arguments.bundle == "-" {
        true => verifier.verify_reader(io::stdin().lock()),
        false => verifier.verify_path(&arguments.bundle),
    };
    verified.map_err(|error| {
        let name = match arguments.bundle == "-" {
            true => "standard input".to_owned(),
            false => format!("`{}`", arguments.bundle.to_string_lossy()),
        };
        Failure::misuse(format!("{name}: {error}"))
    })
}
