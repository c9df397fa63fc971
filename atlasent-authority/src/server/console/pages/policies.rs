//! The policies in force.

use axum::response::Response;
use maud::{Markup, html};

use super::try_out;
use crate::keys::ApiScope;
use crate::policy::{Policies, PolicyText};
use crate::server::api_error::ApiError;
use crate::server::console::layout::{Section, badge, facts};
use crate::server::console::text::{lines, shown};
use crate::server::console::visit::Visit;
use crate::store::Store;

/// How many policies the page shows.
const MOST: usize = 500;

/// Answers `GET /console/policies`.
pub(in crate::server::console) async fn show<S: Store>(
    visit: Visit<S>,
) -> Result<Response, ApiError> {
    if !Section::Policies.is_open_to(|scope| visit.has(scope)) {
        visit.caller.require_scope(ApiScope::AuditRead)?;
    }
    visit.caller.org.check_policies()?;
    let policies = visit.authority().policies();
    let content = html! {
        h1 { "Policies" }
        (about(&policies))
        @if visit.has(ApiScope::Evaluate) {
            h2 { "What would happen" }
            (try_out::form(&visit, &try_out::Question::default()))
        }
        h2 { "In force" }
        @for policy in policies.texts().take(MOST) { (panel(policy)) }
        @if policies.len() > MOST { p.hint { "and " (policies.len() - MOST) " more" } }
    };
    Ok(visit.page(Section::Policies, "Policies", &content))
}

fn about(policies: &Policies) -> Markup {
    let mut about = vec![
        ("Policies", html! { (policies.len()) }),
        ("Digest", html! { code { (policies.digest()) } }),
    ];
    if let Some(schema) = policies.schema_digest() {
        about.push(("Digest of the schema", html! { code { (schema) } }));
    }
    if !policies.warnings().is_empty() {
        let warnings = html! {
            ul { @for warning in policies.warnings() { li { (shown(&warning.to_string())) } } }
        };
        about.push(("Warnings", warnings));
    }
    facts(&about)
}

fn panel(policy: PolicyText<'_>) -> Markup {
    let decision = policy.decision();
    let colour = match decision {
        atlasent::Decision::Allow => "good",
        atlasent::Decision::Deny => "bad",
        atlasent::Decision::Hold | atlasent::Decision::Escalate => "wait",
    };
    html! {
        details.panel {
            summary {
                b { (shown(policy.id())) } " " (badge(colour, decision.as_str())) " "
                span.hint { (shown(policy.file())) ":" (policy.first_line()) }
            }
            pre tabindex="0" { (lines(policy.text())) }
        }
    }
}
