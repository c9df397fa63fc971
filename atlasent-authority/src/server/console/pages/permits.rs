//! The list of permits.

use atlasent::wire::{PermitInfo, PermitStatus};
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};

use crate::keys::ApiScope;
use crate::permits::PermitFilter;
use crate::server::api_error::ApiError;
use crate::server::console::layout::{Section, badge, pager};
use crate::server::console::text::{event_time, shown};
use crate::server::console::visit::Visit;
use crate::server::input::query::Query;
use crate::store::Store;

/// How many permits a page has.
const PAGE: usize = 50;

/// Answers `GET /console/permits`.
pub(in crate::server::console) async fn list<S: Store>(
    visit: Visit<S>,
    uri: Uri,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::PermitsRead)?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let before = query.text("before", 20)?;
    let before = before.and_then(|before| before.parse().ok());
    let agent = query.text("agent", 256)?;
    let mut filter = PermitFilter::default();
    if let Some(agent) = agent {
        filter = filter.agent(agent);
    }
    let caller = visit.caller.for_authority();
    let page = visit
        .authority()
        .permits_for(&caller, &filter, before.unwrap_or(u64::MAX), PAGE);
    let page = page.await?;
    // Behind the first page, the filter goes along.
    let agent_query = agent.map(|agent| {
        let agent =
            percent_encoding::utf8_percent_encode(agent, percent_encoding::NON_ALPHANUMERIC);
        format!("&agent={agent}")
    });
    let agent_query = agent_query.unwrap_or_default();
    let newest =
        before.map(|_| format!("/console/permits?{}", agent_query.trim_start_matches('&')));
    let older = (page.next).map(|next| format!("/console/permits?before={next}{agent_query}"));
    let content = html! {
        h1 { "Permits" }
        form method="get" action="/console/permits" {
            label for="agent" { "Of the agent" }
            input #agent name="agent" maxlength="256" value=[agent];
            button type="submit" { "Show" }
        }
        h2 { (page.total) @if page.total == 1 { " permit" } @else { " permits" } }
        @if page.permits.is_empty() {
            p.empty { "There is no permit. Used, revoked and expired ones are forgotten after a while; the trail keeps their events." }
        } @else {
            table {
                thead {
                    tr {
                        th scope="col" { "Permit" }
                        th scope="col" { "Status" }
                        th scope="col" { "Agent" }
                        th scope="col" { "Action" }
                        th scope="col" { "Issued" }
                    }
                }
                tbody { @for permit in &page.permits { (table_row(permit)) } }
            }
            (pager(newest, older))
        }
    };
    Ok(visit.page(Section::Permits, "Permits", &content))
}

fn table_row(permit: &PermitInfo) -> Markup {
    html! {
        tr {
            td data-name="Permit" { a href={ "/console/permits/" (permit.id) } { (shown(&permit.id)) } }
            td data-name="Status" { (status(&permit.status)) }
            td data-name="Agent" { (shown(&permit.actor_id)) }
            td data-name="Action" {
                (shown(&permit.action_id))
                @if let Some(target) = &permit.target_id { " on " (shown(target)) }
            }
            td data-name="Issued" { (event_time(&permit.issued_at)) }
        }
    }
}

/// The status of a permit.
pub(super) fn status(status: &PermitStatus) -> Markup {
    let colour = match status {
        PermitStatus::Issued => "wait",
        PermitStatus::Verified | PermitStatus::Consumed => "good",
        PermitStatus::Revoked => "bad",
        _ => "plain",
    };
    badge(colour, status.as_str())
}
