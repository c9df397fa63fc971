//! The report of `audit verify`, as text and as JSON.

use std::fmt::Write as _;

use atlasent::audit::{BundleReport, ChainLink, Continuation};
use serde::Serialize;

use super::keys::VerificationKeys;
use crate::exit::Failure;
use crate::output::escaped;

/// The maximum number of findings in the text report.
const MAX_SHOWN_FINDINGS: usize = 20;

/// The verdict on a bundle: the report of its verification, and the options that it is judged by.
pub(super) struct Verdict<'a> {
    pub(super) report: &'a BundleReport,
    pub(super) keys: &'a VerificationKeys,
    pub(super) chain_only: bool,
    pub(super) expected: Option<&'a ExpectedHead>,
}

/// The head that the bundle has to continue.
pub(super) struct ExpectedHead {
    /// The origin of the head, for the report.
    pub(super) name: String,
    pub(super) org_id: Option<String>,
    pub(super) sequence: u64,
    pub(super) hash: String,
}

impl Verdict<'_> {
    /// Whether the bundle is good and continues the expected head, if there is one.
    pub(super) fn is_good(&self) -> bool {
        self.bundle_is_good()
            && self
                .expected
                .is_none_or(|expected| self.continues(expected))
    }

    /// Whether the bundle alone is good: verified and intact, or intact with `--chain-only`.
    fn bundle_is_good(&self) -> bool {
        match self.chain_only {
            true => self.report.chain.is_intact(),
            false => self.report.is_intact(),
        }
    }

    /// Whether the bundle has the organization of the head, and contains or directly follows it.
    fn continues(&self, expected: &ExpectedHead) -> bool {
        let proven = (self.report.chain.continuation).is_some_and(Continuation::is_proven);
        proven && self.has_org_of(expected)
    }

    fn has_org_of(&self, expected: &ExpectedHead) -> bool {
        expected.org_id.is_some() && expected.org_id == self.report.org_id
    }

    /// Formats the text report: the verdict on the first line, the details below. Ids and reasons
    /// come from the bundle, which may be hostile, so every line is escaped.
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
        for ignored in &self.keys.ignored {
            lines.push(format!("  ignored:   {ignored}"));
        }
        let chain = &self.report.chain;
        if chain.found > 0 {
            lines.push(format!("  findings:  {}", chain.found));
        }
        let shown = chain.findings.iter().take(MAX_SHOWN_FINDINGS);
        lines.extend(shown.map(|finding| format!("    {finding}")));
        match chain.found.saturating_sub(MAX_SHOWN_FINDINGS as u64) {
            0 => {}
            more => lines.push(format!("    and {more} more")),
        }
        lines.iter().fold(String::new(), |mut text, line| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", escaped(line));
            text
        })
    }

    fn begins(&self, first: &ChainLink) -> String {
        match (self.report.chain.begins_at_genesis(), first.sequence) {
            (true, _) => "event 1, the start of the chain".to_owned(),
            (false, Some(sequence @ 2..)) => format!(
                "event {sequence}, without events 1 to {}, previous hash {}",
                sequence - 1,
                hash(&first.previous_hash)
            ),
            (false, _) => format!(
                "event {}, previous hash {}, which is not the start of a chain",
                number(first),
                hash(&first.previous_hash)
            ),
        }
    }

    fn relation(&self, expected: &ExpectedHead) -> String {
        let head = format!("{}, event {}", expected.name, expected.sequence);
        if !self.has_org_of(expected) {
            return format!("{head}: the bundle belongs to another organization");
        }
        match self.report.chain.continuation {
            Some(continuation) => format!("{head}: {continuation}"),
            None => format!("{head}: not compared"),
        }
    }

    fn verdict(&self) -> String {
        let report = self.report;
        if self.bundle_is_good() && !self.is_good() {
            return "not a continuation: the bundle is good, but does not continue the expected head"
                .to_owned();
        }
        if self.is_good() {
            return match self.chain_only {
                true => "intact: the chain is unbroken; the signature was not checked".to_owned(),
                false => "verified: signed by a trusted key, and intact".to_owned(),
            };
        }
        if report.verified() {
            return "not intact: the signature and the hashes are valid, but there are findings"
                .to_owned();
        }
        if self.keys.trusted.is_empty() && report.chain.is_intact() {
            return "not verified: the signature was not checked; give a public key with `--key`, or check \
                only the chain with `--chain-only`"
                .to_owned();
        }
        let reason = report
            .reason
            .as_deref()
            .filter(|_| !self.keys.trusted.is_empty());
        format!(
            "not verified: {}",
            reason.unwrap_or("the chain has findings")
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
            (true, _) => "unbroken, with findings",
            (false, _) => "broken",
        }
    }

    fn signature(&self) -> String {
        match &self.report.matched_key_id {
            Some(id) => format!("valid, by the key `{id}`"),
            None if self.keys.trusted.is_empty() => "not checked".to_owned(),
            None => "invalid under every trusted key".to_owned(),
        }
    }

    /// Formats the report as one JSON object. Members that the SDKs report have the SDKs' names.
    pub(super) fn to_json(&self) -> Result<String, Failure> {
        let (report, chain) = (self.report, &self.report.chain);
        let findings = chain.findings.iter().map(|finding| FindingJson {
            index: finding.index,
            event_id: finding.event_id.as_deref(),
            sequence: finding.sequence,
            problem: finding.problem.to_string(),
        });
        let json = ReportJson {
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
            first: chain.first.as_ref().map(LinkJson::from),
            last: chain.last.as_ref().map(LinkJson::from),
            after: self.expected.map(|expected| ComparisonJson {
                sequence: expected.sequence,
                hash: &expected.hash,
                org_id: expected.org_id.as_deref(),
                continues: self.continues(expected),
                relation: self.relation(expected),
            }),
            findings: findings.collect(),
            findings_total: chain.found,
            keys_left_out: &self.keys.ignored,
        };
        serde_json::to_string(&json).map_err(Failure::misuse)
    }
}

#[derive(Serialize)]
struct ReportJson<'a> {
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
    first: Option<LinkJson<'a>>,
    last: Option<LinkJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<ComparisonJson<'a>>,
    findings: Vec<FindingJson<'a>>,
    /// The number of all findings. `findings` is shorter if there are too many to keep.
    findings_total: u64,
    keys_left_out: &'a [String],
}

#[derive(Serialize)]
struct FindingJson<'a> {
    index: Option<u64>,
    event_id: Option<&'a str>,
    sequence: Option<u64>,
    problem: String,
}

/// The first or last event of the bundle.
#[derive(Serialize)]
struct LinkJson<'a> {
    sequence: Option<u64>,
    hash: Option<&'a str>,
    previous_hash: Option<&'a str>,
}

impl<'a> From<&'a ChainLink> for LinkJson<'a> {
    fn from(link: &'a ChainLink) -> Self {
        Self {
            sequence: link.sequence,
            hash: link.hash.as_deref(),
            previous_hash: link.previous_hash.as_deref(),
        }
    }
}

/// The comparison of the bundle with the expected head.
#[derive(Serialize)]
struct ComparisonJson<'a> {
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
