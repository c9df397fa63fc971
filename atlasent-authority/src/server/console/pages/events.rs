//! Reading the chain for pages, on the pool of the reads, and what pages show of an event.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use atlasent::audit::Event;
use maud::{Markup, html};

use crate::local::failed;
use crate::server::api_error::ApiError;
use crate::server::console::text::{lines, shown};
use crate::server::console::visit::Visit;
use crate::server::entry::caller::ApiCaller;
use crate::server::read_pool::store_error;
use crate::store::{Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;

/// How many events the first look for the newest ones covers. Each further look covers eight times
/// as many.
const FIRST_LOOK: u64 = 500;

/// How many events the last look covers.
const LAST_LOOK: u64 = 32_000;

/// How many bytes of payload one look reads.
const LOOK_BYTES: usize = 8 * 1024 * 1024;

/// Runs a read of the visitor's chain on the pool of pages, so that it does not hold up decisions.
pub(super) async fn read<S, T, F>(
    visit: &Visit<S>,
    read: impl FnOnce(Arc<ApiCaller<S>>) -> F,
) -> Result<T, ApiError>
where
    S: Store,
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let pool = &visit.app.read_pools.pages;
    let _slot = pool.slot(&visit.caller.key.org_id).await?;
    pool.run(read(Arc::clone(&visit.caller))).await?
}

/// Returns at most `limit` of the newest events of these types, the newest first. Events that are
/// further back than the last look covers are not found.
pub(super) async fn newest<S: Store>(
    store: &S,
    kinds: &[&'static str],
    limit: usize,
) -> Result<Vec<Event>, ApiError> {
    let status = store.status().await;
    let head = status.map_err(store_error(failed::EVENTS))?.head.sequence;
    let filter = EventFilter::default()
        .types(kinds.iter().copied())
        .through(head)
        .most_bytes(LOOK_BYTES);
    let mut look = FIRST_LOOK;
    loop {
        let after = head.saturating_sub(look);
        let count = usize::try_from(look).unwrap_or(usize::MAX);
        let events = store.events(after, count, &filter).await;
        let events = events.map_err(store_error(failed::EVENTS))?;
        if events.len() >= limit || after == 0 || look >= LAST_LOOK {
            let newest = events.iter().rev().take(limit);
            return newest.map(|event| parsed(event)).collect();
        }
        look *= 8;
    }
}

/// Parses an event of the store.
pub(super) fn parsed(event: &SealedEvent) -> Result<Event, ApiError> {
    let event = event.to_event();
    event.map_err(|error| store_error(failed::EVENTS)(StoreError::failed(error)))
}

/// A text of an event's payload.
pub(super) fn text(event: &Event, key: &str) -> Option<String> {
    event.payload.text(key).map(Cow::into_owned)
}

/// The public id of the permit that an event is about: the first half of its hash (contract, part
/// D).
pub(super) fn permit_id(event: &Event) -> Option<String> {
    let hash = text(event, "permit_hash")?;
    let half = hash.get(..32)?;
    Some(format!("pt_{half}"))
}

/// The colour of an event of this type.
pub(super) fn colour(kind: &str) -> &'static str {
    match kind {
        "evaluate.allow" | "evaluate.replayed" | "permit.verified" | "permit.completed"
        | "approval.granted" | "stop.lifted" => "good",
        "evaluate.deny"
        | "permit.verify_failed"
        | "permit.revoked"
        | "permit.failed"
        | "permit.cancelled"
        | "approval.rejected"
        | "approval.expired"
        | "stop.set"
        | "policy.error" => "bad",
        "evaluate.hold" | "evaluate.escalate" | "approval.requested" | "approval.voted" => "wait",
        _ => "plain",
    }
}

/// The members of payloads that stories and the trail show, with their names for people.
const DETAILS: [(&str, &str); 22] = [
    ("action_type", "Action"),
    ("reason", "Reason"),
    ("code", "Code"),
    ("policies", "Policies"),
    ("environment", "Environment"),
    ("approver", "Approver"),
    ("roles", "Roles"),
    ("vote", "Vote"),
    ("note", "Note"),
    ("approvers", "Approvers"),
    ("approvals_required", "Approvals needed"),
    ("uses", "Good for"),
    ("expires_at", "Until"),
    ("presented_by", "Presented by"),
    ("presented_for", "Presented for"),
    ("duration_ms", "Milliseconds"),
    ("result_hash", "Hash of the result"),
    ("error", "Error"),
    ("key_id", "API key"),
    ("request_id", "Request"),
    ("escalation_id", "Approval"),
    ("stop_id", "Stop"),
];

/// What an event says, as a list of names and values.
pub(super) fn details(event: &Event) -> Markup {
    let all = DETAILS.into_iter().filter_map(|(key, name)| {
        let value = event.payload.get(key)?.get();
        Some((key, name, text(event, key).unwrap_or_else(|| list(value))))
    });
    html! {
        @for (key, name, value) in all {
            p {
                span.hint { (name) ": " }
                @match key {
                    "escalation_id" => a href={ "/console/approvals/" (value) } { (shown(&value)) },
                    "note" => (lines(&value)),
                    _ => (shown(&value)),
                }
            }
        }
    }
}

/// Shows a list of texts with commas, and any other value as JSON.
fn list(value: &str) -> String {
    match serde_json::from_str::<Vec<String>>(value) {
        Ok(texts) => texts.join(", "),
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::EVENT_TYPES;

    #[test]
    fn each_type_of_event_with_an_outcome_has_a_colour() {
        let plain = EVENT_TYPES
            .into_iter()
            .filter(|kind| colour(kind) == "plain");
        assert_eq!(
            plain.collect::<Vec<_>>(),
            [
                "policy.loaded",
                "key.created",
                "key.revoked",
                "audit.archived"
            ]
        );
    }

    #[test]
    fn lists_have_commas_and_numbers_stay() {
        assert_eq!(list(r#"["a","b"]"#), "a, b");
        assert_eq!(list("12"), "12");
        assert_eq!(list("true"), "true");
    }
}
