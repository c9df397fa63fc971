//! One pending decision: what exactly is asked, what holds it, who has voted, and the vote.

use axum::response::Response;
use maud::{Markup, html};

use super::approvals::state;
use crate::ledger::approval::{ApprovalEntry, Approver, Asker, EscalationId, Vote};
use crate::policy::{ApprovalRule, Policies};
use crate::server::api_error::ApiError;
use crate::server::console::layout::{REFRESH, Section, badge, facts, respond};
use crate::server::console::text::{json, left, length, lines, shown, time};
use crate::server::console::visit::Visit;
use crate::server::input::path_id::PathId;
use crate::store::Store;

/// The longest note, in characters.
pub(super) const LONGEST_NOTE: usize = 2_000;

/// Answers `GET /console/approvals/{id}`.
pub(in crate::server::console) async fn show<S: Store>(
    visit: Visit<S>,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let row = find(&visit, &id).await?;
    let policies = visit.authority().policies();
    let now = visit.now();
    let title = format!("{} by {}", row.question.action, row.question.agent.as_str());
    let content = html! {
        h1 { (shown(&row.question.action)) " by " (shown(row.question.agent.as_str())) }
        (about(&row, now))
        h2 #arguments { "What exactly would run" }
        @match row.shown.as_str() {
            Some(text) => pre aria-labelledby="arguments" tabindex="0" { (json(text)) },
            None => p.verdict.wait {
                "It is sealed with a key that this server does not have. It can be rejected, and not approved."
            },
        }
        @if row.rules.iter().any(|rule| !rule.redact.is_empty()) {
            p.hint { "Values that the policies redact stand as " code { "[redacted]" } ". The approval binds them, too." }
        }
        h2 { "What holds it" }
        @for rule in &row.rules { (rule_panel(&row, rule, &policies)) }
        h2 { "Votes" }
        (votes(&row))
        @if !row.steps.is_empty() { h2 { "Escalations" } (steps(&row)) }
        @if row.is_open() { (ballot(&visit, &row)?) } @else { (outcome(&row, now)) }
        h2 { "For the record" }
        (hashes(&row))
    };
    Ok(visit.page(Section::Approvals, &title, &content))
}

/// Returns a decision of the visitor's organization.
pub(super) async fn find<S: Store>(visit: &Visit<S>, id: &str) -> Result<ApprovalEntry, ApiError> {
    let unknown = || {
        ApiError::new(
            axum::http::StatusCode::NOT_FOUND,
            "ESCALATION_NOT_FOUND",
            "there is no such approval here: it was never asked for, or was closed more than 30 days ago",
        )
    };
    let id: EscalationId = id.parse().map_err(|_| unknown())?;
    let caller = visit.caller.for_authority();
    let row = visit.authority().approval_for(&caller, id).await?;
    row.ok_or_else(unknown)
}

/// Answers `GET /console/approvals/{id}/state`: the state alone, to refresh it while others vote.
pub(in crate::server::console) async fn state_alone<S: Store>(
    visit: Visit<S>,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let row = find(&visit, &id).await?;
    let decided = html! {
        (state(&row, visit.now()))
        @if !row.is_open() { " " a href={ "/console/approvals/" (row.id) } { "Show the outcome" } }
    };
    Ok(respond(decided))
}

/// The state of a decision, which is refreshed while it is open.
fn live_state(row: &ApprovalEntry, now: jiff::Timestamp) -> Markup {
    let path = format!("/console/approvals/{}/state", row.id);
    html! {
        @if row.is_open() {
            div #state hx-get=(path) hx-trigger=(REFRESH) aria-live="polite" { (state(row, now)) }
        } @else { (state(row, now)) }
    }
}

fn about(row: &ApprovalEntry, now: jiff::Timestamp) -> Markup {
    let question = &row.question;
    let mut all = vec![
        ("State", live_state(row, now)),
        ("Why it is held", html! { (shown(&row.reason)) }),
        ("Agent", html! { (shown(question.agent.as_str())) }),
        ("Action", html! { (shown(&question.action)) }),
    ];
    if let Some(resource) = &question.resource {
        all.push(("Resource", html! { (shown(resource)) }));
    }
    if let Some(environment) = &question.environment {
        all.push(("Environment", html! { (shown(environment)) }));
    }
    if let Some(score) = &row.risk_score {
        all.push(("Risk score", html! { (score.to_string()) }));
    }
    all.push(("Asked by", askers(row)));
    all.push(("Opened", time(row.opened_at)));
    all.push((
        "Expires",
        html! { (time(row.timeout_at)) " (" (left(row.timeout_at, now)) ")" },
    ));
    facts(&all)
}

/// What the events of the decision name.
fn hashes(row: &ApprovalEntry) -> Markup {
    facts(&[
        ("Id", html! { code { (row.id) } }),
        (
            "Hash of the action",
            html! { code { (row.question.action_hash) } },
        ),
        ("Hash of what is shown", html! { code { (row.shown_hash) } }),
    ])
}

fn askers(row: &ApprovalEntry) -> Markup {
    html! {
        @if row.askers.is_empty() { "a program with the authority inside" }
        @for (index, asker) in row.askers.iter().enumerate() {
            @if index > 0 { ", " }
            @match asker {
                Asker::Key(key) => { "API key " code { (shown(key)) } }
                Asker::Principal(person) => { (shown(person)) }
            }
        }
    }
}

/// One rule of the policies, with the file of its policy if that is in force.
fn rule_panel(row: &ApprovalEntry, rule: &ApprovalRule, policies: &Policies) -> Markup {
    let missing = row.missing(rule);
    let place = policies.place(&rule.policy);
    html! {
        div.panel {
            p {
                b { (shown(&rule.policy)) }
                @match &place {
                    Some(place) => { " in " code { (shown(place)) } }
                    None if row.policy.is_some() => { " (not in force any more)" }
                    None => {}
                }
            }
            p {
                "Asks for " (shown(&rule.to_string())) ". "
                @match missing {
                    0 => (badge("good", "satisfied")),
                    1 => (badge("wait", "1 approval is missing")),
                    _ => (badge("wait", &format!("{missing} approvals are missing"))),
                }
            }
            @if !rule.escalate_to.is_empty() {
                p.hint {
                    "If nobody decides in time, it also goes to "
                    @for (index, step) in rule.escalate_to.iter().enumerate() {
                        @if index > 0 { ", then " }
                        (shown(&step.to_string()))
                    }
                    "."
                }
            }
            @if let Some(text) = policies.texts().find(|text| text.id() == &*rule.policy) {
                details {
                    summary { "Text of the policy" }
                    pre tabindex="0" { (lines(text.text())) }
                }
            }
        }
    }
}

fn votes(row: &ApprovalEntry) -> Markup {
    html! {
        @if row.votes.is_empty() {
            p.empty { "Nobody has voted yet." }
        } @else {
            table {
                thead {
                    tr {
                        th scope="col" { "Who" }
                        th scope="col" { "Vote" }
                        th scope="col" { "Note" }
                        th scope="col" { "When" }
                    }
                }
                tbody { @for vote in &row.votes { (vote_row(vote)) } }
            }
        }
    }
}

fn vote_row(vote: &Vote) -> Markup {
    html! {
        tr {
            td data-name="Who" {
                (vote.approver)
                @if let Some(via) = &vote.via { br; span.hint { "by " code { (shown(via)) } } }
                @if let Some(artifact) = &vote.artifact {
                    br; span.hint { "signed approval " code { (shown(&artifact.approval_id)) } }
                }
            }
            td data-name="Vote" {
                @if vote.approves { (badge("good", "approve")) } @else { (badge("bad", "reject")) }
                @if let Some(grant) = vote.grant {
                    " any context, for " (length(grant.lasts.as_secs())) ", " (times(grant.times))
                }
            }
            td data-name="Note" { @if let Some(note) = &vote.note { (shown(note)) } }
            td data-name="When" { (time(vote.at)) }
        }
    }
}

fn times(times: u32) -> String {
    match times {
        u32::MAX => "any number of times".to_owned(),
        1 => "once".to_owned(),
        times => format!("{times} times"),
    }
}

fn steps(row: &ApprovalEntry) -> Markup {
    html! {
        ul {
            @for step in &row.steps {
                li {
                    (time(step.at)) ": from " (shown(&step.from)) " to " (shown(&step.to))
                    @if let Some(by) = &step.by { ", by " (shown(by)) } @else { ", since the time was over" }
                    @if let Some(reason) = &step.reason { ": " (shown(reason)) }
                }
            }
        }
    }
}

/// The form of a vote, or why the visitor has none.
fn ballot<S: Store>(visit: &Visit<S>, row: &ApprovalEntry) -> Result<Markup, ApiError> {
    let approver = visit.approver()?;
    let refusal = row.check_voter(approver, Some(&visit.caller.key.key_id));
    Ok(html! {
        h2 #vote { "Your vote" }
        @if let Err(refusal) = refusal {
            p.verdict.wait { (shown(&refusal.to_string())) }
        } @else if has_voted(row, approver) {
            p.verdict.wait { "You have voted. More approvals are needed." }
        } @else {
            form.panel method="post" action={ "/console/approvals/" (row.id) "/vote" } {
                (visit.token())
                input type="hidden" name="shown" value=(row.shown_hash);
                label for="note" { "Note, for the record" }
                textarea #note name="note" maxlength=(LONGEST_NOTE) {}
                @if let Some(longest) = row.longest_grant() { (grant_fields(longest.as_secs())) }
                p.hint { "A rejection is final. An approval is good for this one call, while the policies stand." }
                @if row.shown.as_str().is_some() {
                    button.good type="submit" name="vote" value="approve" { "Approve" }
                }
                button.bad type="submit" name="vote" value="reject" { "Reject" }
            }
        }
    })
}

fn has_voted(row: &ApprovalEntry, approver: &Approver) -> bool {
    let same = |vote: &Vote| vote.approver.principal == approver.principal;
    row.votes.iter().any(same)
}

/// The fields by which an approval is good for more than one call.
fn grant_fields(longest: u64) -> Markup {
    let longest = length(i64::try_from(longest).unwrap_or(i64::MAX));
    html! {
        fieldset {
            legend { "Approve more than this one call" }
            p.hint {
                "Leave both empty for this one call. With one of them or both, the same action on the same resource is approved for this agent, with any context, for at most "
                (longest) "."
            }
            label for="for" { "For how long" }
            input #for name="for" placeholder="30m" maxlength="32";
            label for="times" { "How often at most" }
            input #times name="times" inputmode="numeric" placeholder="5" maxlength="10";
        }
    }
}

/// What became of a closed decision.
fn outcome(row: &ApprovalEntry, now: jiff::Timestamp) -> Markup {
    let Some(closing) = &row.closing else {
        return html! {};
    };
    let released = row.release.as_ref();
    html! {
        h2 { "Outcome" }
        p {
            (state(row, now)) " " (time(closing.at))
            @if let Some(by) = &closing.by { ", by " (shown(by)) }
            @if let Some(note) = &closing.note { ": " (shown(note)) }
            @if let Some(expired) = &closing.expired { " (" (shown(expired.as_str())) ")" }
        }
        @if let Some(release) = released {
            p {
                @match release.uses_left {
                    0 => "Its permit was issued.",
                    left => { "It is good for " (times(left)) " until " (time(release.until)) ". The agent has to ask again." }
                }
            }
        }
    }
}
