//! The trail, page by page, with its chain checked.

use std::sync::Arc;

use atlasent::audit::{ChainReport, ChainVerifier, Event};
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};

use super::events::{colour, details, parsed, permit_id, read};
use crate::keys::ApiScope;
use crate::local::failed;
use crate::server::api_error::ApiError;
use crate::server::console::layout::{Section, badge, pager};
use crate::server::console::text::{event_time, shown};
use crate::server::console::visit::Visit;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::query::Query;
use crate::server::read_pool::store_error;
use crate::store::{Store, StoreStatus};
use crate::trail::EventFilter;
use crate::trail::complete::event_at;

/// How many events a page has.
const PAGE: u64 = 50;

/// How many events are read at a time to check the whole chain.
const AT_ONCE: usize = 1_000;

/// How many findings a page names.
const MAX_FINDINGS: usize = 20;

/// A stretch of the chain, and what its check found.
struct Stretch {
    /// The events, the oldest first.
    events: Vec<Event>,
    report: ChainReport,
    status: StoreStatus,
    first: u64,
    last: u64,
}

/// Answers `GET /console/trail`. `at` names an event of the page; without it, the page is the last.
pub(in crate::server::console) async fn show<S: Store>(
    visit: Visit<S>,
    uri: Uri,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::AuditRead)?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let at = query.text("at", 20)?.and_then(|at| at.parse().ok());
    let stretch = read(&visit, |caller| read_stretch(caller, at)).await?;
    let (first, last, head) = (stretch.first, stretch.last, &stretch.status.head);
    let newer = (last < head.sequence).then(|| format!("/console/trail?at={}", last + 1));
    let oldest = stretch.status.dropped + 1;
    let older = (first > oldest).then(|| format!("/console/trail?at={}", first - 1));
    let with_permits = visit.has(ApiScope::PermitsRead);
    let range = format!("Events {first} to {last}");
    let content = html! {
        h1 { "Trail" }
        (verdict(&stretch.report, &range))
        p {
            "The chain has " (head.sequence) " events"
            @if stretch.status.dropped > 0 { ", of which the first " (stretch.status.dropped) " were archived" }
            ". Its head is " code { (shown(&head.hash)) } ". "
            a href="/console/trail/check" { "Check the whole chain" }
        }
        (pager(newer.clone(), older.clone()))
        ol.story {
            @for event in stretch.events.iter().rev() { (item(event, with_permits)) }
        }
        (pager(newer, older))
    };
    Ok(visit.page(Section::Trail, "Trail", &content))
}

/// Answers `GET /console/trail/check`: checks every event that the store has.
pub(in crate::server::console) async fn check<S: Store>(
    visit: Visit<S>,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::AuditRead)?;
    // It reads as much as an export does.
    let pool = &visit.app.read_pools.exports;
    let _slot = pool.slot(&visit.caller.key.org_id).await?;
    let checked = pool.run(check_all(Arc::clone(&visit.caller))).await?;
    let (report, status) = checked?;
    let range = format!(
        "All {} events, from {} to {}",
        report.events,
        status.dropped + 1,
        status.head.sequence
    );
    let content = html! {
        h1 { "The whole chain" }
        (verdict(&report, &range))
        p { "Its head is event " (status.head.sequence) ", " code { (shown(&status.head.hash)) } "." }
        p.hint {
            "This server checked the chain that it has. For a check that does not trust it, export the trail and run "
            code { "atlasent audit verify" } " elsewhere."
        }
        p { a href="/console/trail" { "Back to the trail" } }
    };
    Ok(visit.page(Section::Trail, "The whole chain", &content))
}

/// Says whether a stretch is intact, and otherwise where it breaks.
fn verdict(report: &ChainReport, range: &str) -> Markup {
    if report.is_intact() {
        return html! {
            p.verdict.good { b { "Intact. " } (range) ": each hash fits its event and the event before." }
        };
    }
    let more = report.found.saturating_sub(MAX_FINDINGS as u64);
    html! {
        div.verdict role="alert" {
            p { b { "The chain is broken. " } (range) ":" }
            ul {
                @for finding in report.findings.iter().take(MAX_FINDINGS) { li { (shown(&finding.to_string())) } }
                @if more > 0 { li { "and " (more) " more" } }
            }
        }
    }
}

fn item(event: &Event, with_permits: bool) -> Markup {
    let envelope = &event.envelope;
    html! {
        li id={ "event-" (envelope.sequence) } class=(colour(&envelope.kind)) {
            b { (envelope.sequence) " " (badge(colour(&envelope.kind), &envelope.kind)) } " "
            span.hint { (event_time(&envelope.occurred_at)) }
            @if let Some(agent) = &envelope.actor_id { p { span.hint { "Agent: " } (shown(agent)) } }
            @if let Some(resource) = &envelope.resource_id { p { span.hint { "Resource: " } (shown(resource)) } }
            (details(event))
            @if let Some(id) = permit_id(event).filter(|_| with_permits) {
                p { span.hint { "Permit: " } a href={ "/console/permits/" (id) } { (shown(&id)) } }
            }
            details {
                summary.hint { "Hashes" }
                p { span.hint { "Hash: " } code { (shown(&event.hash)) } }
                p { span.hint { "Hash before: " } code { (shown(&event.previous_hash)) } }
            }
        }
    }
}

/// Reads and checks the page of an event. Pages start at the same events for every visitor.
async fn read_stretch<S: Store>(
    caller: Arc<ApiCaller<S>>,
    at: Option<u64>,
) -> Result<Stretch, ApiError> {
    let store = caller.authority().store();
    let status = store.status().await;
    let status = status.map_err(store_error(failed::EVENTS))?;
    let (oldest, head) = (status.dropped + 1, status.head.sequence);
    let at = at.unwrap_or(head).clamp(oldest.min(head), head).max(1);
    let first = ((at - 1) / PAGE * PAGE + 1).max(oldest);
    let last = ((at - 1) / PAGE * PAGE + PAGE).min(head);
    let filter = EventFilter::default().through(last);
    let limit = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let events = store.events(first - 1, limit, &filter).await;
    let events = events.map_err(store_error(failed::EVENTS))?;
    let events: Vec<Event> =
        (events.iter().map(|event| parsed(event))).collect::<Result<_, _>>()?;
    // The event before the page shows that the page follows it.
    let mut before = None;
    if first > oldest {
        let event = event_at(store, first - 1).await;
        before = event.map_err(store_error(failed::EVENTS))?;
    }
    let before = before.as_deref().map(parsed).transpose()?;
    let wanted = (last + 1).saturating_sub(first) + u64::from(first > oldest);
    let end = (last == head).then_some(&*status.head.hash);
    let report = check_events(before.iter().chain(&events), wanted, end);
    check_dropped(store, &report, &status).await?;
    Ok(Stretch {
        events,
        report,
        status,
        first,
        last,
    })
}

/// Checks a stretch of `wanted` events. `head` is the hash of the chain's last event, if the
/// stretch ends with it.
fn check_events<'a>(
    events: impl Iterator<Item = &'a Event>,
    wanted: u64,
    head: Option<&str>,
) -> ChainReport {
    let (mut verifier, mut last) = (ChainVerifier::new(), None);
    for event in events {
        verifier.push(event);
        last = Some(&*event.hash);
    }
    // Inside the chain, the next page checks what follows.
    verifier.finish(head.or(last), Some(wanted))
}

/// Refuses a report of missing events if retention has dropped events meanwhile.
async fn check_dropped<S: Store>(
    store: &S,
    report: &ChainReport,
    before: &StoreStatus,
) -> Result<(), ApiError> {
    if report.is_intact() {
        return Ok(());
    }
    let now = store.status().await;
    match now.map_err(store_error(failed::EVENTS))?.dropped == before.dropped {
        true => Ok(()),
        false => Err(ApiError::unavailable(
            "TRAIL_MOVED",
            "events were archived while the chain was checked: try again",
        )),
    }
}

/// Checks every event that the store has, up to the head that it had at first.
async fn check_all<S: Store>(
    caller: Arc<ApiCaller<S>>,
) -> Result<(ChainReport, StoreStatus), ApiError> {
    let store = caller.authority().store();
    let status = store.status().await;
    let status = status.map_err(store_error(failed::EVENTS))?;
    let filter = EventFilter::default().through(status.head.sequence);
    let mut verifier = ChainVerifier::new();
    let mut after = status.dropped;
    loop {
        let events = store.events(after, AT_ONCE, &filter).await;
        let events = events.map_err(store_error(failed::EVENTS))?;
        let Some(last) = events.last() else {
            break;
        };
        after = last.sequence;
        for event in &events {
            verifier.push(&parsed(event)?);
        }
    }
    let count = status.head.sequence.saturating_sub(status.dropped);
    let report = verifier.finish(Some(&status.head.hash), Some(count));
    check_dropped(store, &report, &status).await?;
    Ok((report, status))
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::{LocalAuthority, Policies};

    /// The events of a chain, and its head.
    fn chain() -> (Vec<Event>, String) {
        let policies = || Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::in_memory(policies()).unwrap();
        for _ in 0..4 {
            block_on(authority.replace_policies(policies())).unwrap();
        }
        let trail = block_on(authority.trail()).unwrap();
        let head = trail.chain_head_hash.clone().unwrap();
        (trail.events, head)
    }

    fn shown(events: &[Event], wanted: u64, head: Option<&str>) -> String {
        verdict(&check_events(events.iter(), wanted, head), "Events").into_string()
    }

    #[test]
    fn an_intact_stretch_is_called_intact_at_the_end_of_the_chain_and_inside_of_it() {
        let (events, head) = chain();
        assert_eq!(events.len(), 5);
        assert!(shown(&events, 5, Some(&head)).contains("Intact"));
        assert!(shown(&events[1..4], 3, None).contains("Intact"));
    }

    #[test]
    fn a_broken_chain_names_the_event_at_which_it_breaks() {
        let (events, head) = chain();
        let mut changed = events.clone();
        changed[2].payload = events[3].payload.clone();
        let page = shown(&changed, 5, Some(&head));
        assert!(
            page.contains("broken") && page.contains("event 3"),
            "{page}"
        );

        let mut missing = events.clone();
        missing.remove(2);
        let page = shown(&missing, 5, Some(&head));
        assert!(
            page.contains("broken") && page.contains("event 4"),
            "{page}"
        );

        // The end was cut off, or the head is that of another chain.
        for page in [
            shown(&events[..4], 5, Some(&head)),
            shown(&events, 5, Some("00")),
        ] {
            assert!(
                page.contains("broken") && page.contains("the head is not"),
                "{page}"
            );
        }
        let page = shown(&events[1..4], 4, None);
        assert!(page.contains("the number of events differs"), "{page}");
    }
}
