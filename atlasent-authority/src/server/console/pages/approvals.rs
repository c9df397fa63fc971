//! The list of pending decisions.

use axum::http::Uri;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use super::events::read;
use crate::ledger::approval::{ApprovalEntry, ApprovalState};
use crate::local::approvals::ApprovalFilter;
use crate::server::api_error::ApiError;
use crate::server::console::layout::{REFRESH, Section, badge, pager, respond};
use crate::server::console::text::{left, shown, time};
use crate::server::console::visit::Visit;
use crate::server::input::query::Query;
use crate::store::{ApprovalList, Store};

/// How many decisions a page has.
const PAGE: usize = 50;

/// What a list shows, from its query.
struct Shown {
    list: ApprovalList,
    before: u64,
}

impl Shown {
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        let query = Query::parse(uri.query().unwrap_or_default())?;
        let list = match query.text("state", 16)? {
            Some("closed") => ApprovalList::Closed,
            _ => ApprovalList::Open,
        };
        let before = query.text("before", 20)?;
        let before = before.and_then(|before| before.parse().ok());
        Ok(Self {
            list,
            before: before.unwrap_or(u64::MAX),
        })
    }

    /// The query of a page of this list.
    fn query(&self, before: Option<u64>) -> String {
        let state = match self.list {
            ApprovalList::Open => "open",
            ApprovalList::Closed => "closed",
        };
        let before = before.filter(|before| *before < u64::MAX);
        let before = before.map(|before| format!("&before={before}"));
        format!("?state={state}{}", before.unwrap_or_default())
    }
}

/// Answers `GET /console/approvals`.
pub(in crate::server::console) async fn list<S: Store>(
    visit: Visit<S>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let shown = Shown::read(&uri)?;
    let rows = read_rows(&visit, &shown).await?;
    let is_open = shown.list == ApprovalList::Open;
    let path = format!("/console/approvals/rows{}", shown.query(Some(shown.before)));
    let content = html! {
        h1 { "Approvals" }
        nav.filters aria-label="Which approvals" {
            a href="/console/approvals" aria-current=[is_open.then_some("true")] { "Waiting" }
            a href="/console/approvals?state=closed" aria-current=[(!is_open).then_some("true")] { "Decided and expired" }
        }
        div #rows hx-get=(path) hx-trigger=(REFRESH) { (rows) }
    };
    Ok(visit.page(Section::Approvals, "Approvals", &content))
}

/// Answers `GET /console/approvals/rows`: the list alone, to refresh it.
pub(in crate::server::console) async fn rows<S: Store>(
    visit: Visit<S>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let shown = Shown::read(&uri)?;
    Ok(respond(read_rows(&visit, &shown).await?))
}

async fn read_rows<S: Store>(visit: &Visit<S>, list: &Shown) -> Result<Markup, ApiError> {
    let filter = ApprovalFilter::default().list(list.list);
    let before = list.before;
    let page = read(visit, |caller| async move {
        let for_authority = caller.for_authority();
        let authority = caller.authority();
        let page = authority.approvals_page_for(&for_authority, &filter, before, PAGE);
        Ok(page.await?)
    });
    let page = page.await?;
    let now = visit.now();
    let newest =
        (list.before < u64::MAX).then(|| format!("/console/approvals{}", list.query(None)));
    let older = page
        .next
        .map(|next| format!("/console/approvals{}", list.query(Some(next))));
    Ok(html! {
        @if page.approvals.is_empty() && older.is_none() {
            p.empty {
                @match list.list {
                    ApprovalList::Open => "Nothing waits for approval.",
                    ApprovalList::Closed => "Nothing was decided yet.",
                }
                " You see what `" (visit.caller.key.environment.as_str()) "` keys asked for."
            }
        } @else {
            table {
                thead {
                    tr {
                        th scope="col" { "Action" }
                        th scope="col" { "Agent" }
                        th scope="col" { "Why it is held" }
                        th scope="col" { "State" }
                        th scope="col" { "Opened" }
                    }
                }
                tbody { @for row in &page.approvals { (table_row(row, now)) } }
            }
            (pager(newest, older))
        }
    })
}

fn table_row(row: &ApprovalEntry, now: Timestamp) -> Markup {
    let question = &row.question;
    html! {
        tr {
            td data-name="Action" {
                // The id keeps the focus where it is when the list is refreshed.
                a id={ "row-" (row.id) } href={ "/console/approvals/" (row.id) } { (shown(&question.action)) }
                @if let Some(resource) = &question.resource { " on " (shown(resource)) }
            }
            td data-name="Agent" { (shown(question.agent.as_str())) }
            td data-name="Why it is held" { (shown(&row.reason)) }
            td data-name="State" { (state(row, now)) }
            td data-name="Opened" { (time(row.opened_at)) }
        }
    }
}

/// Says how far a decision is.
pub(super) fn state(row: &ApprovalEntry, now: Timestamp) -> Markup {
    let tally = row.tally();
    match row.state {
        ApprovalState::Approved => badge("good", "approved"),
        ApprovalState::Rejected => badge("bad", "rejected"),
        ApprovalState::TimedOut => badge("bad", "expired"),
        // The list is not changed by looking at it.
        _ if row.timeout_at <= now => badge("bad", "expired"),
        ApprovalState::Pending | ApprovalState::Escalated => html! {
            (badge("wait", if row.state == ApprovalState::Escalated { "escalated" } else { "waiting" }))
            " " (tally.approved) " of " (tally.required) ", expires " (left(row.timeout_at, now))
        },
    }
}
