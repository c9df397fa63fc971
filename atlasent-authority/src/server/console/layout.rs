//! The frame of all pages, and the two files that it needs.

use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::text::shown;
use crate::keys::ApiScope;
use crate::ledger::approval::Approver;

/// htmx 2.0.11, unchanged from the npm package `htmx.org` (licence: `assets/htmx-LICENSE`).
const HTMX: &str = include_str!("assets/htmx-2.0.11.min.js");
pub(super) const HTMX_PATH: &str = "/console/assets/htmx-2.0.11.min.js";

const STYLE: &str = include_str!("assets/style.css");
pub(super) const STYLE_PATH: &str =
    concat!("/console/assets/style-", env!("CARGO_PKG_VERSION"), ".css");

/// What htmx must not do: run code from attributes, add styles, keep pages, or ask other servers.
const HTMX_CONFIG: &str = r#"{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,"historyEnabled":false,"historyCacheSize":0,"selfRequestsOnly":true}"#;

/// How often lists are refreshed.
pub(super) const REFRESH: &str = "every 3s";

/// A section of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Approvals,
    Decisions,
    Permits,
    Budgets,
    Trail,
    Stops,
    Policies,
}

impl Section {
    pub(super) const ALL: [Self; 7] = [
        Self::Approvals,
        Self::Decisions,
        Self::Permits,
        Self::Budgets,
        Self::Trail,
        Self::Stops,
        Self::Policies,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Approvals => "/console/approvals",
            Self::Decisions => "/console/decisions",
            Self::Permits => "/console/permits",
            Self::Budgets => "/console/budgets",
            Self::Trail => "/console/trail",
            Self::Stops => "/console/stops",
            Self::Policies => "/console/policies",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Approvals => "Approvals",
            Self::Decisions => "Decisions",
            Self::Permits => "Permits",
            Self::Budgets => "Budgets",
            Self::Trail => "Trail",
            Self::Stops => "Stops",
            Self::Policies => "Policies",
        }
    }

    /// Whether an API key may see the section. `has` tells whether it has a scope.
    pub(super) fn is_open_to(self, has: impl Fn(ApiScope) -> bool) -> bool {
        match self {
            Self::Approvals => has(ApiScope::Approve),
            Self::Decisions | Self::Trail => has(ApiScope::AuditRead),
            Self::Permits | Self::Budgets => has(ApiScope::PermitsRead),
            Self::Stops => has(ApiScope::Stop),
            Self::Policies => has(ApiScope::AuditRead) || has(ApiScope::Evaluate),
        }
    }
}

/// A whole page. `bar` is what stands above its content.
pub(super) fn document(title: &str, bar: &Markup, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { (shown(title)) " · AtlaSent" }
                link rel="stylesheet" href=(STYLE_PATH);
                script src=(HTMX_PATH) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (bar)
                main #content tabindex="-1" { (content) }
            }
        }
    }
}

/// The bar above each page of a person who is logged in. `token` is that of the session's forms.
pub(super) fn bar(
    sections: &[Section],
    current: Section,
    person: Option<&Approver>,
    org: &str,
    token: &Markup,
) -> Markup {
    html! {
        header.bar {
            nav aria-label="Sections" {
                ul {
                    @for section in sections {
                        li {
                            a href=(section.path()) aria-current=[(*section == current).then_some("page")] {
                                (section.name())
                            }
                        }
                    }
                }
            }
            div.person {
                span {
                    @if let Some(person) = person { b { (shown(&person.principal)) } " in " }
                    (shown(org))
                }
                form method="post" action="/console/logout" {
                    (token)
                    button.quiet type="submit" { "Log out" }
                }
            }
        }
    }
}

/// A list of names and values.
pub(super) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// A word that stands for a state, with a colour of its own. The word says it all: the colour
/// repeats it.
pub(super) fn badge(kind: &str, word: &str) -> Markup {
    html! { span class={ "badge " (kind) } { (shown(word)) } }
}

/// The links to the pages before and after one.
pub(super) fn pager(newer: Option<String>, older: Option<String>) -> Markup {
    html! {
        @if newer.is_some() || older.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(newer) = newer { a href=(newer) rel="prev" { "← Newer" } }
                @if let Some(older) = older { a href=(older) rel="next" { "Older →" } }
            }
        }
    }
}

/// The response with a page, or with a part of one.
pub(super) fn respond(markup: Markup) -> Response {
    Html(markup.into_string()).into_response()
}

type File = ([(HeaderName, &'static str); 2], &'static str);

/// The names of both files change with their contents.
const KEPT: &str = "public, max-age=86400, immutable";

pub(super) async fn style() -> File {
    let css = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    ([css, (header::CACHE_CONTROL, KEPT)], STYLE)
}

pub(super) async fn htmx() -> File {
    let script = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    ([script, (header::CACHE_CONTROL, KEPT)], HTMX)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The digest of the file in the npm package. The copy here has to stay unchanged.
    #[test]
    fn htmx_is_the_published_file() {
        let digest = base16ct::lower::encode_string(&Sha256::digest(HTMX));
        assert_eq!(
            digest,
            "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
        );
    }

    #[test]
    fn the_configuration_of_htmx_is_json_that_forbids_eval_and_styles() {
        let config: serde_json::Value = serde_json::from_str(HTMX_CONFIG).unwrap();
        assert_eq!(config["allowEval"], false);
        assert_eq!(config["includeIndicatorStyles"], false);
        assert_eq!(config["selfRequestsOnly"], true);
    }

    #[test]
    fn the_style_names_no_outside_resource() {
        for word in ["url(", "@import", "http:", "https:"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
