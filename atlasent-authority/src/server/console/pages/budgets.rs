//! How much of each budget is used up.

use axum::http::Uri;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::keys::ApiScope;
use crate::local::budget_use::BudgetReading;
use crate::policy::{BudgetScope, Units};
use crate::server::api_error::ApiError;
use crate::server::console::layout::{Section, badge};
use crate::server::console::text::{left, shown, time};
use crate::server::console::visit::Visit;
use crate::server::input::query::Query;
use crate::store::Store;

/// The longest name of an agent or a resource, in characters.
const LONGEST_NAME: usize = 512;

/// Answers `GET /console/budgets`.
pub(in crate::server::console) async fn show<S: Store>(
    visit: Visit<S>,
    uri: Uri,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::PermitsRead)?;
    visit.caller.org.check_policies()?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let named = query.text("of", LONGEST_NAME)?;
    let caller = visit.caller.for_authority();
    let found = visit.authority().budget_use(&caller, named).await?;
    let content = html! {
        h1 { "Budgets" }
        form method="get" action="/console/budgets" {
            label for="of" { "Of the agent or the resource" }
            input #of name="of" maxlength=(LONGEST_NAME) value=[named];
            button type="submit" { "Show" }
        }
        @if found.readings.is_empty() {
            p.empty { "Nothing of a budget is used up, or no policy has one (" code { "@budget" } ")." }
        } @else {
            table {
                thead {
                    tr {
                        th scope="col" { "Of" }
                        th scope="col" { "Budget" }
                        th scope="col" { "Used" }
                        th scope="col" { "Left" }
                        th scope="col" { "Free again" }
                    }
                }
                tbody { @for reading in &found.readings { (table_row(reading, found.now)) } }
            }
        }
        @if found.is_cut { p.hint { "There are more: name an agent or a resource." } }
        @if named.is_none() {
            p.hint { "Agents and resources are those of the newest permits. Used are the amounts of permits that were used within the time of the budget, and of those that still can be." }
        }
    };
    Ok(visit.page(Section::Budgets, "Budgets", &content))
}

fn table_row(reading: &BudgetReading, now: Timestamp) -> Markup {
    let remaining = Units(reading.limit.0.saturating_sub(reading.used.0));
    html! {
        tr {
            td data-name="Of" {
                @match reading.scope {
                    BudgetScope::Organization => "all agents",
                    scope => { (scope.as_str()) " " (shown(&reading.holder)) }
                }
            }
            td data-name="Budget" { (shown(&reading.budget)) " " span.hint { "of " (shown(&reading.policy)) } }
            td data-name="Used" { (reading.used) " of " (reading.limit) }
            td data-name="Left" {
                (remaining) @if remaining.0 == 0 { " " (badge("bad", "used up")) }
            }
            td data-name="Free again" {
                @match reading.free {
                    None => "nothing is used",
                    Some((first, last)) => {
                        @if first != last { "a part " (left(first, now)) ", all " }
                        (left(last, now)) " (" (time(last)) ")"
                    }
                }
            }
        }
    }
}
