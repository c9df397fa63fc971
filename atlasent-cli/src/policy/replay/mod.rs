//! `atlasent policy replay`: what other policies would have decided on the requests of a trail.

mod recorded;
mod report;
mod tally;

use std::path::PathBuf;

use clap::Args;

use super::load;
use crate::audit::checked_trail::CheckedTrail;
use crate::exit::Failure;
use crate::json;
use crate::output::Output;
use recorded::Recorded;
use report::Report;
use tally::Tally;

/// Replay the decisions of an exported trail by other policies, and print what would have changed
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy replay --trail bundle.json --key keys.json --policies new-policies
  atlasent policy replay --trail bundle.json --key keys.json --policies new-policies --json
  atlasent policy replay --trail trail.json --allow-unsigned --policies new-policies

The trail is verified first, as `atlasent audit verify` does; one that is changed or has gaps is refused.
A decision can be replayed if its context was recorded (`atlasent serve --record-context`), and no policy that held it
redacts a value.
Decisions that do not come from policies are not compared: those of stops, permit limits, required approvals and
repeated requests, and those after an evaluation error.

Exit codes:
  0  every replayed decision is the same
  1  some would have been another: the report lists them
  2  the trail is not verified, the policies cannot be loaded, or no decision can be replayed")]
pub(crate) struct Replay {
    /// The exported trail
    #[arg(long, value_name = "FILE")]
    trail: PathBuf,

    /// The directory of the policies to try
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,

    /// A file of public keys to trust, as for `audit verify`; repeatable
    #[arg(long = "key", visible_alias = "trust", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Accept a trail without a valid signature; its chain is still checked
    #[arg(long, conflicts_with = "keys")]
    allow_unsigned: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Replays the decisions, and reports the changes.
pub(crate) fn run(arguments: &Replay) -> Result<Output, Failure> {
    if arguments.keys.is_empty() && !arguments.allow_unsigned {
        return Err(Failure::misuse(
            "name the keys that may have signed the trail with `--key <FILE>`, or accept an unsigned one with `--allow-unsigned`",
        ));
    }
    let policies = load(&arguments.policies)?;
    let trail = CheckedTrail::open(&arguments.trail, &arguments.keys, arguments.allow_unsigned)?;
    let mut tally = Tally::default();
    trail.for_each(|event| {
        if let Some(recorded) = Recorded::from_event(event) {
            tally.add(recorded, &event.envelope, &policies);
        }
    })?;
    if tally.replayed == 0 {
        return Err(Failure::misuse(format!(
            "`{}`: no decision can be replayed: {}",
            arguments.trail.display(),
            tally.why_nothing_is_replayed()
        )));
    }
    let report = Report {
        tally: &tally,
        trail: &trail,
        policies: &policies,
    };
    let output = Output::new(match arguments.json {
        true => json::for_stdout(&report.json().to_string()),
        false => report.text(),
    });
    match tally.changed {
        0 => Ok(output),
        _ => Err(Failure::NegativeResult(output)),
    }
}
