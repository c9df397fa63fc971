//! Prints an audit trail as a table, for the examples.

use atlasent::audit::Trail;
use comfy_table::{ContentArrangement, Table, presets};

/// Returns the trail as a table with a row for each event.
#[must_use]
pub fn table(trail: &Trail) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["#", "event", "agent", "action", "why", "previous → hash"]);
    for event in &trail.events {
        let text = |key: &str| event.payload.text(key).unwrap_or_default().into_owned();
        let short = |hash: &str| hash.chars().take(8).collect::<String>();
        table.add_row([
            event.envelope.sequence.to_string(),
            event.envelope.kind.clone(),
            event.envelope.actor_id.clone().unwrap_or_default(),
            text("action_type"),
            text("reason"),
            format!("{} → {}", short(&event.previous_hash), short(&event.hash)),
        ]);
    }
    table
}
