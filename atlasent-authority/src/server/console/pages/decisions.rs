//! The newest decisions, as they happen.

use atlasent::audit::Event;
use axum::response::Response;
use maud::{Markup, html};

use super::events::{colour, newest, permit_id, read, text};
use crate::keys::ApiScope;
use crate::server::api_error::ApiError;
use crate::server::console::layout::{REFRESH, Section, badge, respond};
use crate::server::console::text::{event_time, shown};
use crate::server::console::visit::Visit;
use crate::store::Store;

/// How many decisions the page has.
const NEWEST: usize = 50;

/// The events of decisions.
const DECISIONS: [&str; 5] = [
    "evaluate.allow",
    "evaluate.deny",
    "evaluate.hold",
    "evaluate.escalate",
    "evaluate.replayed",
];

/// Answers `GET /console/decisions`.
pub(in crate::server::console) async fn show<S: Store>(
    visit: Visit<S>,
) -> Result<Response, ApiError> {
    let rows = read_rows(&visit).await?;
    let content = html! {
        h1 { "Decisions" }
        p.hint { "The newest " (NEWEST) " decisions. The list refreshes itself where scripts run." }
        div #rows hx-get="/console/decisions/rows" hx-trigger=(REFRESH) { (rows) }
    };
    Ok(visit.page(Section::Decisions, "Decisions", &content))
}

/// Answers `GET /console/decisions/rows`: the list alone, to refresh it.
pub(in crate::server::console) async fn rows<S: Store>(
    visit: Visit<S>,
) -> Result<Response, ApiError> {
    Ok(respond(read_rows(&visit).await?))
}

async fn read_rows<S: Store>(visit: &Visit<S>) -> Result<Markup, ApiError> {
    visit.caller.require_scope(ApiScope::AuditRead)?;
    let events = read(visit, |caller| async move {
        newest(caller.authority().store(), &DECISIONS, NEWEST).await
    });
    let events = events.await?;
    let with_permits = visit.has(ApiScope::PermitsRead);
    Ok(html! {
        @if events.is_empty() {
            p.empty { "Nothing was decided lately." }
        } @else {
            table {
                thead {
                    tr {
                        th scope="col" { "When" }
                        th scope="col" { "Decision" }
                        th scope="col" { "Agent" }
                        th scope="col" { "Action" }
                        th scope="col" { "Reason" }
                    }
                }
                tbody { @for event in &events { (table_row(event, with_permits)) } }
            }
        }
    })
}

fn table_row(event: &Event, with_permits: bool) -> Markup {
    let envelope = &event.envelope;
    let (kind, sequence) = (&*envelope.kind, envelope.sequence);
    let word = kind.strip_prefix("evaluate.").unwrap_or(kind);
    html! {
        tr {
            td data-name="When" {
                a id={ "event-" (sequence) } href={ "/console/trail?at=" (sequence) "#event-" (sequence) } {
                    (event_time(&envelope.occurred_at))
                }
            }
            td data-name="Decision" {
                (badge(colour(kind), word))
                @if event.payload.get("shadow").is_some() { " shadow" }
                @if let Some(id) = permit_id(event).filter(|_| with_permits) {
                    " " a id={ "permit-" (sequence) } href={ "/console/permits/" (id) } { "permit" }
                }
                @if let Some(id) = text(event, "escalation_id") {
                    " " a id={ "approval-" (sequence) } href={ "/console/approvals/" (id) } { "approval" }
                }
            }
            td data-name="Agent" { @if let Some(agent) = &envelope.actor_id { (shown(agent)) } }
            td data-name="Action" {
                @if let Some(action) = text(event, "action_type") { (shown(&action)) }
                @if let Some(resource) = &envelope.resource_id { " on " (shown(resource)) }
            }
            td data-name="Reason" { @if let Some(reason) = text(event, "reason") { (shown(&reason)) } }
        }
    }
}
