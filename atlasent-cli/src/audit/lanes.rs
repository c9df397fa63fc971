//! `atlasent audit lanes`: verifies the trails of several organizations, and the order between them
//! by a list of signed heads.
//!
//! A tenant that outgrows one chain spreads its agents over several organizations, its lanes. Each
//! chain orders the events of its lane. The order of the lines in the list fixes the order across
//! lanes:
//!
//! ```text
//! line   head              what the lines prove
//! 1      acme-1, event 40  events 1 to 40 of acme-1 happened before the line was written
//! 2      acme-2, event 31  events 32 and later of acme-2 are newer than the 40 of acme-1
//! 3      acme-1, event 90  events 91 and later of acme-1 are newer than the 31 of acme-2
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use atlasent::audit::{ChainLink, GENESIS_HASH, SignedHead};
use clap::Args;
use serde::Serialize;

use super::checked_trail::CheckedTrail;
use super::keys::VerificationKeys;
use crate::exit::Failure;
use crate::json;
use crate::output::{Output, escaped};

/// The largest list of heads, in bytes.
const MAX_LIST_BYTES: u64 = 64 * 1024 * 1024;

/// Verify the trails of several organizations, and the order between them by a list of signed heads
#[derive(Args)]
#[command(after_help = "\
Examples:
  for key in $KEY_OF_LANE_1 $KEY_OF_LANE_2; do ATLASENT_API_KEY=$key atlasent audit head >> heads.jsonl; done
  atlasent audit lanes heads.jsonl lane-1.json lane-2.json --key keys.json
  atlasent audit lanes heads.jsonl lane-1.json lane-2.json --key keys.json --json | jq .chains

Each bundle is verified as by `atlasent audit verify`. Several bundles of one organization have to follow each other.
Each head has to be signed, and to match the hash of its event. Then all events up to a head are older than the events
that follow a head in the same or a later line. The order of the lines is not signed: keep the list where the servers
cannot write.

Exit codes:
  0  all trails and all heads are verified
  1  not verified: the report has the findings
  2  a file cannot be read, or a bundle is not verified")]
pub(super) struct Lanes {
    /// The list of heads: the output of `atlasent audit head`, one a line, in the order in which
    /// they were taken
    #[arg(value_name = "HEADS")]
    heads: PathBuf,

    /// The bundles of the organizations
    #[arg(value_name = "BUNDLE", required = true)]
    bundles: Vec<PathBuf>,

    /// A file of trusted public keys; repeatable
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies the bundles and the heads, compares each head with its bundle, and reports.
pub(super) fn run(arguments: &Lanes) -> Result<Output, Failure> {
    let keys = VerificationKeys::read(&arguments.keys)?;
    let heads = read_heads(&arguments.heads)?;
    let lanes = open_lanes(arguments)?;
    let mut report = Report::default();
    for listed in &heads {
        if let Err(error) = listed.head.verify(&keys.trusted) {
            report.add_finding(listed.line, error);
        }
        if !lanes.contains_key(&listed.head.org_id) {
            let org = &listed.head.org_id;
            report.add_finding(listed.line, format!("no bundle belongs to `{org}`"));
        }
    }
    for (org_id, lane) in &lanes {
        let own = heads.iter().filter(|listed| listed.head.org_id == *org_id);
        let own: Vec<_> = own.collect();
        report.findings.extend(lane.break_between_bundles());
        compare_heads(lane, &own, &mut report)?;
        report.chains.push(ChainJson {
            org_id,
            first: lane.first().and_then(|link| link.sequence),
            last: lane.last(),
            heads: own.len(),
        });
    }
    report.heads = heads.iter().map(HeadJson::from).collect();
    report.verified = report.findings.is_empty();
    let text = match arguments.json {
        true => json::for_stdout(&serde_json::to_string(&report).map_err(Failure::misuse)?),
        false => report.to_text(),
    };
    match report.verified {
        true => Ok(Output::new(text)),
        false => Err(Failure::NegativeResult(Output::new(text))),
    }
}

/// A head, and its line in the list.
struct ListedHead {
    line: usize,
    head: SignedHead,
}

/// Reads the list of heads. Empty lines are skipped.
fn read_heads(path: &Path) -> Result<Vec<ListedHead>, Failure> {
    let failure = |why: String| Failure::misuse(format!("`{}`: {why}", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        let mut limited = file.take(MAX_LIST_BYTES + 1);
        limited.read_to_string(&mut text)
    });
    read.map_err(|error| failure(format!("cannot read the file: {error}")))?;
    if text.len() as u64 > MAX_LIST_BYTES {
        return Err(failure(format!(
            "the list of heads is larger than {MAX_LIST_BYTES} bytes"
        )));
    }
    let mut heads = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let head = serde_json::from_str(text);
        let head =
            head.map_err(|error| failure(format!("line {line}: not a signed head: {error}")))?;
        heads.push(ListedHead { line, head });
    }
    match heads.is_empty() {
        true => Err(failure(
            "the list has no heads: append the output of `atlasent audit head`".to_owned(),
        )),
        false => Ok(heads),
    }
}

/// The verified bundles of one organization, in the order of their events.
#[derive(Default)]
struct Lane(Vec<CheckedTrail>);

/// Verifies the bundles. Returns them by organization.
fn open_lanes(arguments: &Lanes) -> Result<BTreeMap<String, Lane>, Failure> {
    let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
    for path in &arguments.bundles {
        let trail = CheckedTrail::open(path, &arguments.keys, false)?;
        let Some(org_id) = trail.report().org_id.clone() else {
            let why = "the bundle names no organization";
            return Err(Failure::misuse(format!("`{}`: {why}", path.display())));
        };
        lanes.entry(org_id).or_default().0.push(trail);
    }
    for lane in lanes.values_mut() {
        lane.0.sort_by_key(|trail| {
            let first = trail.report().chain.first.as_ref();
            first.and_then(|link| link.sequence)
        });
    }
    Ok(lanes)
}

impl Lane {
    fn first(&self) -> Option<&ChainLink> {
        self.0
            .iter()
            .find_map(|trail| trail.report().chain.first.as_ref())
    }

    /// Returns the sequence number of the last event, or `None` without events.
    fn last(&self) -> Option<u64> {
        let mut trails = self.0.iter().rev();
        trails.find_map(|trail| trail.report().chain.last.as_ref()?.sequence)
    }

    /// Returns the finding for the first bundle that does not begin right after the one before it.
    fn break_between_bundles(&self) -> Option<String> {
        let pairs = self.0.windows(2).filter_map(|pair| match pair {
            [before, after] => Some((before, after)),
            _ => None,
        });
        for (before, after) in pairs {
            let (last, first) = (&before.report().chain.last, &after.report().chain.first);
            let follows = match (last, first) {
                (Some(last), Some(first)) => first.previous_hash == last.hash,
                // A bundle without events fits everywhere.
                _ => true,
            };
            if !follows {
                return Some(format!(
                    "`{}` does not begin right after `{}`",
                    after.path().display(),
                    before.path().display()
                ));
            }
        }
        None
    }

    /// Returns the hashes of the events of the heads, if the bundles have them. The first event
    /// also names the hash of the event before it.
    fn hashes(&self, heads: &[&ListedHead]) -> Result<HashMap<u64, String>, Failure> {
        let mut hashes: HashMap<u64, String> = HashMap::new();
        let before = match self.first() {
            Some(first) => first.sequence.zip(first.previous_hash.clone()),
            None => Some((1, GENESIS_HASH.to_owned())),
        };
        hashes.extend(before.map(|(first, hash)| (first.saturating_sub(1), hash)));
        let mut wanted: Vec<u64> = heads.iter().map(|listed| listed.head.sequence).collect();
        wanted.sort_unstable();
        for trail in &self.0 {
            trail.for_each(|event| {
                let sequence = event.envelope.sequence;
                if wanted.binary_search(&sequence).is_ok() {
                    hashes.insert(sequence, event.hash.clone());
                }
            })?;
        }
        Ok(hashes)
    }
}

/// Compares the heads of an organization with its events, and with each other.
fn compare_heads(
    lane: &Lane,
    heads: &[&ListedHead],
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let hashes = lane.hashes(heads)?;
    let mut highest: Option<&ListedHead> = None;
    for &listed in heads {
        let (line, head) = (listed.line, &listed.head);
        let (org, sequence) = (&head.org_id, head.sequence);
        match hashes.get(&sequence) {
            Some(hash) if *hash == head.hash => {}
            Some(_) => report.add_finding(
                line,
                format!("the head does not match event {sequence} of `{org}`"),
            ),
            None => report.add_finding(
                line,
                format!(
                    "the head is at event {sequence}, which the bundles of `{org}` do not contain"
                ),
            ),
        }
        match highest {
            Some(earlier) if earlier.head.sequence > sequence => report.add_finding(
                line,
                format!(
                    "the head is at event {sequence} of `{org}`, but the head in line {} is at event {}: \
                     the lines are not in the order in which the heads were taken",
                    earlier.line, earlier.head.sequence
                ),
            ),
            _ => highest = Some(listed),
        }
    }
    Ok(())
}

/// The report, with its members in JSON.
#[derive(Default, Serialize)]
struct Report<'a> {
    verified: bool,
    chains: Vec<ChainJson<'a>>,
    heads: Vec<HeadJson<'a>>,
    findings: Vec<String>,
}

/// The part of an organization's chain that the bundles contain.
#[derive(Serialize)]
struct ChainJson<'a> {
    org_id: &'a str,
    first: Option<u64>,
    last: Option<u64>,
    /// The number of its heads in the list.
    heads: usize,
}

#[derive(Serialize)]
struct HeadJson<'a> {
    line: usize,
    org_id: &'a str,
    sequence: u64,
    signed_at: &'a str,
}

impl<'a> From<&'a ListedHead> for HeadJson<'a> {
    fn from(listed: &'a ListedHead) -> Self {
        Self {
            line: listed.line,
            org_id: &listed.head.org_id,
            sequence: listed.head.sequence,
            signed_at: &listed.head.signed_at,
        }
    }
}

impl Report<'_> {
    fn add_finding(&mut self, line: usize, finding: impl fmt::Display) {
        self.findings.push(format!("line {line}: {finding}"));
    }

    /// Formats the text report: the verdict on the first line, the details below. Ids come from the
    /// files, which may be hostile, so every line is escaped.
    fn to_text(&self) -> String {
        let verdict = match self.verified {
            true => "verified: the heads are signed and agree with the chains, line by line",
            false => "not verified: see the findings",
        };
        let chains = self.chains.iter().map(|chain| {
            let events = match (chain.first, chain.last) {
                (Some(first), Some(last)) => format!("events {first} to {last}"),
                _ => "no events".to_owned(),
            };
            format!("  {}: {events}, heads: {}", chain.org_id, chain.heads)
        });
        let findings = self.findings.iter().map(|finding| format!("  {finding}"));
        let lines = std::iter::once(verdict.to_owned()).chain(chains);
        lines.chain(findings).fold(String::new(), |mut text, line| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", escaped(&line));
            text
        })
    }
}
