//! Stops: those in effect, setting one, lifting one.

use atlasent::wire::StopScope;
use axum::extract::Request;
use axum::response::Response;
use jiff::SignedDuration;
use maud::{Markup, html};

use crate::duration::parse_positive_duration;
use crate::keys::ApiScope;
use crate::ledger::stops::Stop;
use crate::server::api_error::ApiError;
use crate::server::console::form::Form;
use crate::server::console::layout::{Section, badge};
use crate::server::console::see;
use crate::server::console::text::{left, shown, time};
use crate::server::console::visit::Visit;
use crate::server::input::path_id::PathId;
use crate::store::Store;

const PATH: &str = "/console/stops";

/// The longest reason, in characters.
const LONGEST_REASON: usize = 1_000;

/// The longest name of an agent or an action, in characters.
const LONGEST_NAME: usize = 256;

/// Answers `GET /console/stops`.
pub(in crate::server::console) async fn list<S: Store>(
    visit: Visit<S>,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::Stop)?;
    let stops = visit.authority().stops().await?;
    let content = html! {
        h1 { "Stops" }
        p { "A stop denies every request that it covers, and kills every permit that was issued before it." }
        @if stops.is_empty() { p.empty { "No stop is in effect." } }
        @for stop in &stops { (panel(&visit, stop)) }
        h2 { "Set a stop" }
        form.panel method="post" action=(PATH) {
            (visit.token())
            fieldset {
                legend { "What it covers" }
                label.choice { input type="radio" name="covers" value="agent" checked; "An agent" }
                label.choice { input type="radio" name="covers" value="action"; "An action" }
                label.choice { input type="radio" name="covers" value="all"; "Everything" }
                label for="name" { "Name of the agent or action" }
                input #name name="name" maxlength=(LONGEST_NAME) aria-describedby="name-hint";
                p.hint #name-hint { "Leave it empty to stop everything." }
            }
            label for="reason" { "Reason" }
            input #reason name="reason" required maxlength=(LONGEST_REASON);
            label for="for" { "For how long" }
            input #for name="for" maxlength="32" placeholder="2h" aria-describedby="for-hint";
            p.hint #for-hint { "Leave it empty for a stop that has to be lifted." }
            button.bad type="submit" { "Stop" }
        }
    };
    Ok(visit.page(Section::Stops, "Stops", &content))
}

fn panel<S: Store>(visit: &Visit<S>, stop: &Stop) -> Markup {
    let now = visit.now();
    html! {
        div.panel {
            p {
                b { (stop.scope) } " "
                @if stop.test_only { (badge("plain", "test keys only")) }
            }
            p { (shown(&stop.reason)) }
            p.hint {
                "Set " (time(stop.set_at))
                @if let Some(by) = &stop.set_by { " by " code { (shown(by)) } }
                @match stop.expires_at {
                    Some(end) => { ", ends " (left(end, now)) }
                    None => ", until it is lifted",
                }
            }
            form method="post" action={ (PATH) "/" (stop.id) "/lift" } {
                (visit.token())
                label for={ "reason-" (stop.id) } { "Reason to lift it" }
                input id={ "reason-" (stop.id) } name="reason" required maxlength=(LONGEST_REASON);
                button type="submit" { "Lift the stop" }
            }
        }
    }
}

/// Answers `POST /console/stops`.
pub(in crate::server::console) async fn set<S: Store>(
    visit: Visit<S>,
    request: Request,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::Stop)?;
    let form = Form::read(request, &visit.session).await?;
    let covers = form.required("covers", 16)?;
    let name = form.text("name", LONGEST_NAME)?;
    // A name beside `everything` is a slip: the person may have meant less.
    let scope = match (&*covers, name) {
        ("agent", Some(name)) => StopScope::agent(name)?,
        ("action", Some(name)) => StopScope::action(name)?,
        ("all", None) => StopScope::all(),
        ("all", Some(_)) => {
            return Err(ApiError::invalid(
                "a stop of everything has no name: choose the agent or the action, or leave the name empty",
            ));
        }
        _ => {
            return Err(ApiError::invalid(
                "the name of the agent or action is missing: fill it in",
            ));
        }
    };
    let reason = form.required("reason", LONGEST_REASON)?;
    let until = match form.text("for", 32)? {
        None => None,
        Some(lasts) => {
            let lasts = parse_positive_duration(lasts.trim())
                .map_err(|why| ApiError::invalid(format!("`For how long`: {why}")))?;
            let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
            let too_long = |_| ApiError::invalid("`For how long` is too long: leave it empty");
            Some(visit.now().checked_add(lasts).map_err(too_long)?)
        }
    };
    let caller = visit.caller.for_authority();
    let authority = visit.authority();
    authority.stop_for(&caller, scope, &reason, until).await?;
    Ok(see(PATH))
}

/// Answers `POST /console/stops/{id}/lift`.
pub(in crate::server::console) async fn lift<S: Store>(
    visit: Visit<S>,
    PathId(id): PathId,
    request: Request,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::Stop)?;
    let form = Form::read(request, &visit.session).await?;
    let reason = form.required("reason", LONGEST_REASON)?;
    let caller = visit.caller.for_authority();
    let lifted = visit.authority().lift_stop_for(&caller, &id, &reason);
    lifted.await??;
    Ok(see(PATH))
}
