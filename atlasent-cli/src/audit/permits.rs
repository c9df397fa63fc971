//! `atlasent audit report`: tells the story of each permit of a verified trail, and lists the
//! permits that were used and never ended.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::checked_trail::CheckedTrail;
use super::story::{End, Step, Stories, Story};
use crate::exit::Failure;
use crate::json;
use crate::output::{Output, escaped};

/// Report the story of each permit: the question, its approvals, the verification, how it ended
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit export --out bundle.json
  atlasent audit report bundle.json --key keys.json
  atlasent audit report bundle.json --key keys.json --permit pt_ba7816bf8f01cfea414140de5dae2223
  atlasent audit report bundle.json --key keys.json --unended --json | jq .never_ended

The last lines count the permits, and list those that were used and never ended: the process was killed, its receipt
did not arrive, or it sends none. The bundle is verified first, as by `atlasent audit verify`. A bundle of a period
does not know what happened before and after it.

Exit codes:
  0  reported
  2  the bundle or a key cannot be read, or the bundle is not verified")]
pub(super) struct Report {
    /// The file of the bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,

    /// A file of trusted public keys; repeatable
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Check only the hash chain, not the signature
    #[arg(long, conflicts_with = "keys")]
    chain_only: bool,

    /// Only the permit with this id (`pt_…`) or hash
    #[arg(long, value_name = "ID|HASH")]
    permit: Option<String>,

    /// Only permits that were used and never ended
    #[arg(long)]
    unended: bool,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the bundle and prints the stories.
pub(super) fn run(arguments: &Report) -> Result<Output, Failure> {
    let trail = CheckedTrail::open(&arguments.bundle, &arguments.keys, arguments.chain_only)?;
    let mut stories = Stories::default();
    trail.for_each(|event| stories.add(event))?;
    let mut stories = stories.finish();
    if let Some(permit) = &arguments.permit {
        stories.retain(|story| [&story.permit_id, &story.permit_hash].contains(&permit));
        if stories.is_empty() {
            return Err(Failure::misuse(format!(
                "the bundle has no permit `{}`: give a permit's id (`pt_…`) or its hash",
                escaped(permit)
            )));
        }
    }
    let is_shown = |story: &&Story| !arguments.unended || story.end == End::NeverEnded;
    let report = ReportJson {
        permits: stories.iter().filter(is_shown).collect(),
        counts: Counts::new(&stories),
        never_ended: ids(&stories),
    };
    let text = match arguments.json {
        true => json::for_stdout(&serde_json::to_string(&report).map_err(Failure::misuse)?),
        false => report.to_text(&stories),
    };
    Ok(Output::new(text))
}

#[derive(Serialize)]
struct ReportJson<'a> {
    permits: Vec<&'a Story>,
    counts: Counts,
    never_ended: Vec<&'a str>,
}

/// How many permits got how far.
#[derive(Serialize)]
struct Counts {
    permits: usize,
    completed: usize,
    failed: usize,
    cancelled: usize,
    unused: usize,
    never_ended: usize,
}

impl Counts {
    fn new(stories: &[Story]) -> Self {
        let count = |end| stories.iter().filter(|story| story.end == end).count();
        Self {
            permits: stories.len(),
            completed: count(End::Completed),
            failed: count(End::Failed),
            cancelled: count(End::Cancelled),
            unused: count(End::Unused),
            never_ended: count(End::NeverEnded),
        }
    }
}

fn never_ended(stories: &[Story]) -> impl Iterator<Item = &Story> {
    stories.iter().filter(|story| story.end == End::NeverEnded)
}

fn ids(stories: &[Story]) -> Vec<&str> {
    never_ended(stories)
        .map(|story| &*story.permit_id)
        .collect()
}

impl ReportJson<'_> {
    /// Formats the text report. Names and reasons come from the bundle, so every line is escaped.
    fn to_text(&self, stories: &[Story]) -> String {
        let mut lines = Vec::new();
        for story in &self.permits {
            lines.push(format!("{}: {}", title(story), story.end.as_str()));
            lines.extend(story.steps.iter().map(line));
            lines.push(String::new());
        }
        let Counts {
            permits,
            completed,
            failed,
            cancelled,
            unused,
            never_ended: unended,
        } = self.counts;
        lines.push(format!(
            "{permits} permits: {completed} completed, {failed} failed, {cancelled} cancelled, {unused} unused, \
             {unended} used and never ended"
        ));
        if unended > 0 {
            lines.push("used and never ended:".to_owned());
        }
        lines.extend(never_ended(stories).map(|story| format!("  {}", title(story))));
        lines.iter().fold(String::new(), |mut text, line| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", escaped(line));
            text
        })
    }
}

fn title(story: &Story) -> String {
    let mut title = story.permit_id.clone();
    for (word, name) in [
        ("", &story.action),
        ("by ", &story.agent),
        ("on ", &story.resource),
    ] {
        if let Some(name) = name {
            title.push_str(&format!(" {word}{name}"));
        }
    }
    title
}

fn line(step: &Step) -> String {
    let mut line = format!(
        "  {}  event {}  {}",
        step.occurred_at, step.sequence, step.kind
    );
    for (name, value) in &step.details {
        line.push_str(&match *name {
            "duration_ms" => format!("  {value} ms"),
            _ => format!("  {name}: {value}"),
        });
    }
    line
}
