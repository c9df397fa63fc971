//! `atlasent audit verify`: whether a bundle is what it says, without asking anybody.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use atlasent::audit::{BundleReport, BundleVerifier, Phase, Progress, TrustedKeys};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::json;

use crate::exit::Failure;
use crate::json;
use crate::output::{Output, harmless};

/// From what size on it is told how far the check is, in bytes.
const LONG: u64 = 4 * 1024 * 1024;

/// How many findings are told.
const TOLD: usize = 20;

/// Check a signed export: its chain, its signature, and all that it says of itself
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit verify bundle.json --key signing-key.pem
  atlasent audit verify bundle.json --key keys.json --json
  curl -s … | atlasent audit verify - --key keys.json

A key file is a public key in PEM, a JWK, or what /v1-signing-keys and `atlasent signing-key list` answer. Exit code 0:
signed by one of the keys, whole and unchanged; 1: not; 2: it could not be checked.")]
pub(super) struct Verify {
    /// The bundle; `-` for standard input
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,

    /// A file with public keys that are trusted; repeatable
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Check the chain only: nobody vouches for it then
    #[arg(long, conflicts_with = "keys")]
    chain_only: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the bundle.
pub(super) fn run(arguments: &Verify) -> Result<Output, Failure> {
    if arguments.keys.is_empty() && !arguments.chain_only {
        return Err(Failure::misuse(
            "whose signature? name the trusted keys with `--key`, or check no signature with `--chain-only`",
        ));
    }
    let keys =
        (arguments.keys.iter()).try_fold(TrustedKeys::new(), |keys, path| add(keys, path))?;
    let report = check(&arguments.bundle, &keys)?;
    let good = match arguments.chain_only {
        true => report.chain.is_intact(),
        false => report.is_intact(),
    };
    let text = match arguments.json {
        true => json::for_stdout(&as_json(&report, good).to_string()),
        false => as_text(&report, good, arguments.chain_only),
    };
    match good {
        true => Ok(Output::new(text)),
        false => Err(Failure::Negative(Output::new(text))),
    }
}

fn add(keys: TrustedKeys, path: &Path) -> Result<TrustedKeys, Failure> {
    #[derive(Deserialize)]
    struct Published {
        keys: Vec<Key>,
    }
    #[derive(Deserialize)]
    struct Key {
        key_id: String,
        public_key_pem: String,
    }
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::misuse(format!("cannot read the key `{name}`: {error}")))?;
    let added = match serde_json::from_str::<Published>(&text) {
        Ok(published) => published
            .keys
            .iter()
            .try_fold(keys, |keys, key| keys.pem(&key.key_id, &key.public_key_pem)),
        Err(_) if text.trim_start().starts_with('{') => keys.jwk(&text),
        Err(_) => {
            let id = path.file_stem().unwrap_or(path.as_os_str());
            keys.pem(id.to_string_lossy(), &text)
        }
    };
    added.map_err(|error| Failure::misuse(format!("`{name}`: {error}")))
}

fn check(path: &Path, keys: &TrustedKeys) -> Result<BundleReport, Failure> {
    let bar = bar(path);
    let mut verifier = BundleVerifier::new(keys).on_progress(|progress| show(&bar, progress));
    let report = match path.as_os_str() == "-" {
        true => verifier.verify_reader(io::stdin().lock()),
        false => verifier.verify_path(path),
    };
    drop(verifier);
    bar.finish_and_clear();
    report.map_err(|error| {
        Failure::misuse(format!("`{}` cannot be checked: {error}", path.display()))
    })
}

/// A bar where somebody looks and it takes a while; else one that nobody sees.
fn bar(path: &Path) -> ProgressBar {
    let length = File::open(path)
        .and_then(|file| file.metadata())
        .map_or(0, |data| data.len());
    if length < LONG || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    // It is read twice.
    let bar = ProgressBar::with_draw_target(Some(2 * length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %, {eta} to go");
    style
        .map(|style| bar.clone().with_style(style))
        .unwrap_or(bar)
}

fn show(bar: &ProgressBar, progress: Progress) {
    let before = match progress.phase {
        Phase::Chain => 0,
        Phase::Signature => progress.total_bytes.unwrap_or_default(),
    };
    bar.set_position(before + progress.bytes);
}

fn as_text(report: &BundleReport, good: bool, chain_only: bool) -> String {
    let chain = &report.chain;
    let events = chain.events;
    let mut text = match (good, &report.matched_key_id) {
        (true, Some(key)) => format!("verified: {events} events, signed by {}\n", harmless(key)),
        (true, None) => format!("the chain of {events} events is whole; nobody vouches for it\n"),
        (false, _) => {
            let reason = match (&report.reason, chain_only) {
                (Some(reason), false) => reason.clone(),
                _ => "the chain does not hold".to_owned(),
            };
            let reason = match report.verified() {
                true => "signed, and it contradicts itself".to_owned(),
                false => reason,
            };
            format!("NOT verified: {} ({events} events)\n", harmless(&reason))
        }
    };
    for finding in chain.findings.iter().take(TOLD) {
        text.push_str(&format!("  {}\n", harmless(&finding.to_string())));
    }
    let more = chain.found.saturating_sub(TOLD as u64);
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

fn as_json(report: &BundleReport, good: bool) -> serde_json::Value {
    let chain = &report.chain;
    let findings = chain.findings.iter().map(|finding| {
        json!({
            "index": finding.index,
            "event_id": finding.event_id,
            "sequence": finding.sequence,
            "problem": finding.problem.to_string(),
        })
    });
    json!({
        "ok": good,
        "verified": report.verified(),
        "chain_integrity_ok": chain.integrity_ok,
        "signature_valid": report.signature_valid,
        "head_hash_matches": chain.head_hash_matches,
        "matched_key_id": report.matched_key_id,
        "reason": report.reason,
        "events": chain.events,
        "tampered_event_ids": chain.tampered_event_ids,
        "findings": findings.collect::<Vec<_>>(),
        "found": chain.found,
    })
}
