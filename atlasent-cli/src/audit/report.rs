//! What the check of a bundle found, for people and for programs.

use std::fmt::Write as _;

use atlasent::audit::{BundleReport, ChainLink, Continuation};
use serde::Serialize;

use super::keys::Keys;
use crate::exit::Failure;
use crate::output::harmless;

/// How many findings people get to read.
const SHOWN: usize = 20;

/// A report, and what was asked for.
pub(super) struct Verdict<'a> {
    pub(super) report: &'a BundleReport,
    pub(super) keys: &'a Keys,
    pub(super) chain_only: bool,
    pub(super) expected: Option<&'a Expected>,
}

/// A head that the bundle has to continue.
pub(super) struct Expected {
    /// What it is, for the report.
    pub(super) name: String,
    pub(super) org_id: Option<String>,
    pub(super) sequence: u64,
    pub(super) hash: String,
}

impl Verdict<'_> {
    /// Whether the bundle is what it was asked to be.
    pub(super) fn is_good(&self) -> bool {
        self.is_sound()
            && self
                .expected
                .is_none_or(|expected| self.continues(expected))
    }

    /// Whether the bundle by itself is good.
    fn is_sound(&self) -> bool {
        match self.chain_only {
            true => self.report.chain.is_intact(),
            false => self.report.is_intact(),
        }
    }

    /// Whether the bundle is of the same organization as the head, and contains or follows it.
    fn continues(&self, expected: &Expected) -> bool {
        let proven = (self.report.chain.continuation).is_some_and(Continuation::is_proven);
        proven && self.is_of_org(expected)
    }

    fn is_of_org(&self, expected: &Expected) -> bool {
        expected.org_id.is_some() && expected.org_id == self.report.org_id
    }

    /// The verdict on the first line, and below it what there is to know. Ids and reasons come from the bundle, which may be
    /// hostile.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![
            self.verdict(),
            format!("  events:    {}", self.events()),
            format!("  chain:     {}", self.chain()),
            format!("  signature: {}", self.signature()),
        ];
        if let (Some(first), Some(last)) = (&self.report.chain.first, &self.report.chain.last) {
            lines.push(format!("  begins:    {}", self.begins(first)));
            lines.push(format!(
                "  ends:      event {}, hash {}",
                number(last),
                hash(&last.hash)
            ));
        }
        if let Some(expected) = self.expected {
            lines.push(format!("  after:     {}", self.relation(expected)));
        }
        for left_out in &self.keys.left_out {
            lines.push(format!("  left out:  {left_out}"));
        }
        let chain = &self.report.chain;
        if chain.found > 0 {
            lines.push(format!("  findings:  {}", chain.found));
        }
        let shown = chain.findings.iter().take(SHOWN);
        lines.extend(shown.map(|finding| format!("    {finding}")));
        match chain.found.saturating_sub(SHOWN as u64) {
            0 => {}
            more => lines.push(format!("    and {more} more")),
        }
        lines.iter().fold(String::new(), |mut text, line| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", harmless(line));
            text
        })
    }

    fn begins(&self, first: &ChainLink) -> String {
        match (self.report.chain.begins_at_genesis(), first.sequence) {
            (true, _) => "event 1, where the chain begins".to_owned(),
            (false, Some(sequence @ 2..)) => format!(
                "event {sequence}; events 1 to {} are not in it, previous hash {}",
                sequence - 1,
                hash(&first.previous_hash)
            ),
            (false, _) => format!(
                "event {}, previous hash {}, which is not where a chain begins",
                number(first),
                hash(&first.previous_hash)
            ),
        }
    }

    fn relation(&self, expected: &Expected) -> String {
        let head = format!("{}, event {}", expected.name, expected.sequence);
        if !self.is_of_org(expected) {
            return format!("{head}: is of another organization");
        }
        match self.report.chain.continuation {
            Some(continuation) => format!("{head}: {continuation}"),
            None => format!("{head}: not compared"),
        }
    }

    fn verdict(&self) -> String {
        let report = self.report;
        if self.is_sound() && !self.is_good() {
            return "not a continuation: by itself it is sound, but it does not continue what it was compared with"
                .to_owned();
        }
        if self.is_good() {
            return match self.chain_only {
                true => "intact, but nobody vouches for it: no signature was checked".to_owned(),
                false => "verified: signed by a key that is trusted, and intact".to_owned(),
            };
        }
        if report.verified() {
            return "not intact: the signature and the hashes are good, the findings are not"
                .to_owned();
        }
        if self.keys.trusted.is_empty() && report.chain.is_intact() {
            return "not verified: nobody vouches for it; name a public key with `--key`, or check the \
                chain alone with `--chain-only`"
                .to_owned();
        }
        let reason = report
            .reason
            .as_deref()
            .filter(|_| !self.keys.trusted.is_empty());
        format!(
            "not verified: {}",
            reason.unwrap_or("something is wrong with the chain")
        )
    }

    fn events(&self) -> String {
        let chain = &self.report.chain;
        match (chain.first_at, chain.last_at) {
            (Some(first), Some(last)) => format!("{}, from {first} to {last}", chain.events),
            _ => chain.events.to_string(),
        }
    }

    fn chain(&self) -> &'static str {
        match (self.report.chain.integrity_ok, self.report.chain.found) {
            (true, 0) => "intact",
            (true, _) => "holds, with findings",
            (false, _) => "broken",
        }
    }

    fn signature(&self) -> String {
        match &self.report.matched_key_id {
            Some(id) => format!("good, by the key `{id}`"),
            None if self.keys.trusted.is_empty() => "not checked".to_owned(),
            None => "not good under any key that is trusted".to_owned(),
        }
    }

    /// One JSON object, with the SDKs' names for what they have names for.
    pub(super) fn to_json(&self) -> Result<String, Failure> {
        let (report, chain) = (self.report, &self.report.chain);
        let findings = chain.findings.iter().map(|finding| Found {
            index: finding.index,
            event_id: finding.event_id.as_deref(),
            sequence: finding.sequence,
            problem: finding.problem.to_string(),
        });
        let json = Json {
            verified: report.verified(),
            intact: report.is_intact(),
            chain_integrity_ok: chain.integrity_ok,
            signature_valid: report.signature_valid,
            head_hash_matches: chain.head_hash_matches,
            matched_key_id: report.matched_key_id.as_deref(),
            tampered_event_ids: &chain.tampered_event_ids,
            reason: report.reason.as_deref(),
            events: chain.events,
            first_at: chain.first_at.map(|time| time.to_string()),
            last_at: chain.last_at.map(|time| time.to_string()),
            org_id: report.org_id.as_deref(),
            begins_at_genesis: chain.begins_at_genesis(),
            first: chain.first.as_ref().map(Link::from),
            last: chain.last.as_ref().map(Link::from),
            after: self.expected.map(|expected| After {
                sequence: expected.sequence,
                hash: &expected.hash,
                org_id: expected.org_id.as_deref(),
                continues: self.continues(expected),
                relation: self.relation(expected),
            }),
            findings: findings.collect(),
            findings_total: chain.found,
            keys_left_out: &self.keys.left_out,
        };
        serde_json::to_string(&json).map_err(Failure::misuse)
    }
}

#[derive(Serialize)]
struct Json<'a> {
    verified: bool,
    intact: bool,
    chain_integrity_ok: bool,
    signature_valid: bool,
    head_hash_matches: bool,
    matched_key_id: Option<&'a str>,
    tampered_event_ids: &'a [String],
    reason: Option<&'a str>,
    events: u64,
    first_at: Option<String>,
    last_at: Option<String>,
    org_id: Option<&'a str>,
    begins_at_genesis: bool,
    first: Option<Link<'a>>,
    last: Option<Link<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<After<'a>>,
    findings: Vec<Found<'a>>,
    /// More than there are findings, when there are too many to keep.
    findings_total: u64,
    keys_left_out: &'a [String],
}

#[derive(Serialize)]
struct Found<'a> {
    index: Option<u64>,
    event_id: Option<&'a str>,
    sequence: Option<u64>,
    problem: String,
}

/// Where the trail begins or ends.
#[derive(Serialize)]
struct Link<'a> {
    sequence: Option<u64>,
    hash: Option<&'a str>,
    previous_hash: Option<&'a str>,
}

impl<'a> From<&'a ChainLink> for Link<'a> {
    fn from(link: &'a ChainLink) -> Self {
        Self {
            sequence: link.sequence,
            hash: link.hash.as_deref(),
            previous_hash: link.previous_hash.as_deref(),
        }
    }
}

/// What the bundle was compared with.
#[derive(Serialize)]
struct After<'a> {
    sequence: u64,
    hash: &'a str,
    org_id: Option<&'a str>,
    continues: bool,
    relation: String,
}

fn number(link: &ChainLink) -> String {
    let sequence = link.sequence.map(|sequence| sequence.to_string());
    sequence.unwrap_or_else(|| "without a number".to_owned())
}

fn hash(hash: &Option<String>) -> &str {
    hash.as_deref().unwrap_or("missing")
}
