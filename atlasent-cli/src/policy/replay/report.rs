//! The report of a replay, as a table and as JSON.

use atlasent_authority::Policies;
use serde_json::{Value, json};

use super::tally::{Example, Tally, Verdict};
use crate::audit::checked_trail::CheckedTrail;
use crate::json;
use crate::output::escaped;

/// How many policies the table names for a decision. JSON has all.
const MAX_NAMED: usize = 3;

/// How many changes the table has. JSON has all.
const MAX_ROWS: usize = 100;

const HEADER: [&str; 6] = ["COUNT", "ACTION", "AGENT", "BEFORE", "AFTER", "EXAMPLE"];

/// A replay to report.
pub(super) struct Report<'r> {
    pub(super) tally: &'r Tally,
    pub(super) trail: &'r CheckedTrail,
    pub(super) policies: &'r Policies,
}

impl Report<'_> {
    pub(super) fn text(&self) -> String {
        let tally = self.tally;
        let mut lines = vec![format!(
            "{} of {} replayed decisions would have changed",
            tally.changed, tally.replayed
        )];
        let changes = tally.changes();
        if !changes.is_empty() {
            let rows = changes.iter().take(MAX_ROWS).map(|(change, occurrences)| {
                [
                    occurrences.count.to_string(),
                    change.action.clone(),
                    change.agent.clone(),
                    shown(&change.before, |_| None),
                    shown(&change.after, |id| self.policies.place(id)),
                    example(&occurrences.example),
                ]
            });
            lines.push(String::new());
            lines.extend(table(rows.collect()));
            let hidden = changes.iter().skip(MAX_ROWS);
            let hidden: u64 = hidden.map(|(_, occurrences)| occurrences.count).sum();
            if hidden + tally.beyond > 0 {
                lines.push(format!(
                    "and {} more decisions with other changes",
                    hidden + tally.beyond
                ));
            }
            lines.push(String::new());
        }
        lines.extend(self.remarks());
        lines.iter().map(|line| escaped(line) + "\n").collect()
    }

    /// Returns the lines below the table.
    fn remarks(&self) -> Vec<String> {
        let tally = self.tally;
        let mut lines = Vec::new();
        if tally.other_reason > 0 {
            lines.push(format!(
                "same decision, by other policies or with another code: {}",
                tally.other_reason
            ));
        }
        if tally.without_context > 0 {
            lines.push(format!(
                "not replayable: the context was not recorded: {}",
                tally.without_context
            ));
        }
        if let Some(first) = &tally.first_not_rebuilt {
            lines.push(format!(
                "not replayable: the request cannot be rebuilt: {}, such as event {}",
                tally.not_rebuilt,
                example(first)
            ));
        }
        if !tally.not_by_policies.is_empty() {
            let counts = tally.not_by_policies.iter();
            let counts: Vec<_> = counts
                .map(|(code, count)| format!("{code} {count}"))
                .collect();
            lines.push(format!(
                "not compared, since the decision does not come from policies: {}",
                counts.join(", ")
            ));
        }
        let signed = match self.trail.key_id() {
            Some(id) => format!("signed by the key `{id}`"),
            None => "its signature was not checked".to_owned(),
        };
        lines.push(format!("trail: {} events, {signed}", self.trail.len()));
        let policies = self.policies;
        lines.push(format!(
            "policies: {}, digest {}",
            policies.len(),
            policies.digest()
        ));
        lines
    }

    pub(super) fn json(&self) -> Value {
        let tally = self.tally;
        let changes = tally.changes();
        let changes: Vec<Value> = (changes.iter())
            .map(|(change, occurrences)| {
                json!({
                    "action": change.action,
                    "agent": change.agent,
                    "before": verdict(&change.before),
                    "after": verdict(&change.after),
                    "count": occurrences.count,
                    "example": event(&occurrences.example),
                })
            })
            .collect();
        let not_rebuilt = json!({ "count": tally.not_rebuilt });
        let first = tally.first_not_rebuilt.as_ref().map(event);
        let trail = json!({
            "events": self.trail.len(),
            "signature_valid": self.trail.key_id().is_some(),
        });
        json!({
            "replayed": tally.replayed,
            "changed": tally.changed,
            "changes": changes,
            "changed_beyond_list": tally.beyond,
            "same_for_other_reason": tally.other_reason,
            "context_not_recorded": tally.without_context,
            "request_not_rebuilt": json::with_member(not_rebuilt, "example", first),
            "not_by_policies": tally.not_by_policies,
            "trail": json::with_member(trail, "matched_key_id", self.trail.key_id()),
            "policies": { "count": self.policies.len(), "digest": self.policies.digest() },
        })
    }
}

fn verdict(verdict: &Verdict) -> Value {
    let json = json!({ "decision": verdict.decision, "policies": verdict.policies });
    json::with_member(json, "code", verdict.code.as_deref())
}

fn event(example: &Example) -> Value {
    json!({ "sequence": example.sequence, "id": example.id })
}

fn example(example: &Example) -> String {
    format!("{} ({})", example.sequence, example.id)
}

/// Formats a decision with its policies, or with its code if no policy made it.
fn shown(verdict: &Verdict, place: impl Fn(&str) -> Option<String>) -> String {
    let decision = verdict.decision;
    if verdict.policies.is_empty() {
        return match &verdict.code {
            Some(code) => format!("{decision}: {code}"),
            None => decision.to_owned(),
        };
    }
    let named = verdict.policies.iter().take(MAX_NAMED);
    let mut named: Vec<String> = named
        .map(|id| match place(id) {
            Some(place) => format!("{id} at {place}"),
            None => id.clone(),
        })
        .collect();
    match verdict.policies.len().saturating_sub(MAX_NAMED) {
        0 => {}
        more => named.push(format!("{more} more")),
    }
    format!("{decision} by {}", named.join(", "))
}

/// Aligns rows under the header. Widths count the characters that are printed.
fn table(rows: Vec<[String; 6]>) -> Vec<String> {
    let mut rows = rows;
    rows.insert(0, HEADER.map(str::to_owned));
    let rows: Vec<[String; 6]> = (rows.into_iter())
        .map(|row| row.map(|cell| escaped(&cell)))
        .collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let padded = rows.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    padded.collect()
}
