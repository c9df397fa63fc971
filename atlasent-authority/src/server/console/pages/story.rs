//! One permit's whole story, from the chain: question, hold, votes, permit, verification, outcome.

use atlasent::audit::Event;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::events::{colour, details, parsed, read, text};
use super::permits::status;
use crate::keys::ApiScope;
use crate::ledger::PermitEntry;
use crate::ledger::approval::EscalationId;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::local::failed;
use crate::server::api_error::ApiError;
use crate::server::console::layout::{Section, facts};
use crate::server::console::text::{event_time, shown};
use crate::server::console::visit::Visit;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::path_id::PathId;
use crate::server::read_pool::store_error;
use crate::store::Store;
use crate::trail::EventFilter;
use crate::trail::complete::event_at;

/// How many events of the permit's agent are read at a time, and how many in all.
const AT_ONCE: usize = 1_000;
const MOST: usize = 20_000;

/// The events that an approval has before it releases a permit.
const BEFORE: [&str; 7] = [
    "evaluate.hold",
    "evaluate.escalate",
    "approval.requested",
    "approval.voted",
    "approval.granted",
    "approval.rejected",
    "approval.expired",
];

/// The events that a permit has after it was issued.
const AFTER: [&str; 7] = [
    "evaluate.replayed",
    "permit.verified",
    "permit.verify_failed",
    "permit.revoked",
    "permit.completed",
    "permit.failed",
    "permit.cancelled",
];

/// What the chain tells about a permit.
struct Story {
    events: Vec<Event>,
    /// Whether the agent has more events than were read.
    is_cut: bool,
    /// Whether the event that issued the permit was archived.
    is_archived: bool,
}

/// Answers `GET /console/permits/{id}`.
pub(in crate::server::console) async fn show<S: Store>(
    visit: Visit<S>,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::PermitsRead)?;
    let unknown = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "PERMIT_NOT_FOUND",
            "no permit has this id here: it was never issued, or is forgotten by now; the trail has its events",
        )
    };
    let id: PermitId = id.parse().map_err(|_| unknown())?;
    let caller = visit.caller.for_authority();
    let found = visit.authority().find_permit(&caller, id).await?;
    let (context, key, entry) = found.ok_or_else(unknown)?;
    let info = context.info(key, &entry);
    let story = match visit.has(ApiScope::AuditRead) {
        true => Some(read(&visit, |caller| tell(caller, key, entry)).await?),
        false => None,
    };
    let mut about = vec![
        ("Status", status(&info.status)),
        ("Agent", html! { (shown(&info.actor_id)) }),
        ("Action", html! { (shown(&info.action_id)) }),
    ];
    if let Some(target) = &info.target_id {
        about.push(("Resource", html! { (shown(target)) }));
    }
    about.push(("Issued", event_time(&info.issued_at)));
    about.push(("Expires", event_time(&info.expires_at)));
    if let Some(reason) = &info.revoke_reason {
        about.push(("Revoked", html! { (shown(reason)) }));
    }
    let content = html! {
        h1 { "Permit " (shown(&info.id)) }
        (facts(&about))
        @if let Some(story) = &story { (telling(story)) }
        @else { p.hint { "The story of a permit needs the scope " code { "audit.read" } "." } }
    };
    Ok(visit.page(Section::Permits, "Permit", &content))
}

fn telling(story: &Story) -> Markup {
    html! {
        h2 { "Story" }
        p { b { (ending(&story.events)) } }
        @if story.is_archived { p.hint { "Its first events were moved into an archive." } }
        @if story.is_cut { p.hint { "The agent has too many events to read here: later ones are on the trail." } }
        ol.story {
            @for event in &story.events {
                li class=(colour(&event.envelope.kind)) {
                    b { (shown(&event.envelope.kind)) } " "
                    a.hint href={ "/console/trail?at=" (event.envelope.sequence) "#event-" (event.envelope.sequence) } {
                        "event " (event.envelope.sequence) ", " (event_time(&event.envelope.occurred_at))
                    }
                    (details(event))
                }
            }
        }
    }
}

/// Says how the story ends, so far. A permit got as far as its furthest event says.
fn ending(events: &[Event]) -> &'static str {
    let has = |kind: &str| events.iter().any(|event| event.envelope.kind == kind);
    if has("permit.cancelled") {
        "The action was cancelled."
    } else if has("permit.failed") {
        "The action failed."
    } else if has("permit.completed") {
        "The action completed."
    } else if has("permit.verified") {
        "The permit was used. Nothing says yet how the action ended."
    } else {
        "The permit was not used, so nothing ran under it."
    }
}

/// Reads the story of a permit.
async fn tell<S: Store>(
    caller: std::sync::Arc<ApiCaller<S>>,
    key: PermitKey,
    entry: PermitEntry,
) -> Result<Story, ApiError> {
    let authority = caller.authority();
    let store = authority.store();
    let issued = event_at(store, entry.sequence).await;
    let issued = issued.map_err(store_error(failed::EVENTS))?;
    let issued = issued.as_deref().map(parsed).transpose()?;
    let by_agent = EventFilter::default().actor_id(entry.grant.agent.as_str());
    let mut story = Story {
        events: Vec::new(),
        is_cut: false,
        is_archived: issued.is_none(),
    };
    let approval = issued
        .as_ref()
        .and_then(|event| text(event, "escalation_id"));
    if let Some(approval) = approval
        && let Ok(id) = approval.parse::<EscalationId>()
        && let Some(row) = authority.approval_for(&caller.for_authority(), id).await?
    {
        let filter = by_agent.clone().types(BEFORE).through(entry.sequence);
        // The event of the hold stands beside the one that opened the decision.
        let after = row.sequence.saturating_sub(2);
        let is_ours = |event: &Event| text(event, "escalation_id").as_ref() == Some(&approval);
        story.add(store, &filter, after, is_ours).await?;
    }
    story.events.extend(issued);
    let hash = key.to_hex();
    let is_ours = |event: &Event| text(event, "permit_hash").as_ref() == Some(&hash);
    let filter = by_agent.types(AFTER);
    story.add(store, &filter, entry.sequence, is_ours).await?;
    Ok(story)
}

impl Story {
    /// Adds the events behind `after` that are of the story.
    async fn add<S: Store>(
        &mut self,
        store: &S,
        filter: &EventFilter,
        mut after: u64,
        is_ours: impl Fn(&Event) -> bool,
    ) -> Result<(), ApiError> {
        for _ in 0..MOST / AT_ONCE {
            let events = store.events(after, AT_ONCE, filter).await;
            let events = events.map_err(store_error(failed::EVENTS))?;
            let Some(last) = events.last() else {
                return Ok(());
            };
            after = last.sequence;
            for event in &events {
                let event = parsed(event)?;
                if is_ours(&event) {
                    self.events.push(event);
                }
            }
            if events.len() < AT_ONCE {
                return Ok(());
            }
        }
        self.is_cut = true;
        Ok(())
    }
}
