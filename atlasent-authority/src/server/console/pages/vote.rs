//! Casting a vote.

use axum::extract::Request;
use axum::response::Response;

use super::approval::{LONGEST_NOTE, find};
use crate::duration::parse_positive_duration;
use crate::local::approvals::Ballot;
use crate::server::api_error::ApiError;
use crate::server::console::form::Form;
use crate::server::console::see;
use crate::server::console::visit::Visit;
use crate::server::input::path_id::PathId;
use crate::store::Store;

/// Answers `POST /console/approvals/{id}/vote`.
pub(in crate::server::console) async fn cast<S: Store>(
    visit: Visit<S>,
    PathId(id): PathId,
    request: Request,
) -> Result<Response, ApiError> {
    let form = Form::read(request, &visit.session).await?;
    let row = find(&visit, &id).await?;
    // The vote is for what the page has shown, and for nothing else.
    if form.required("shown", 64)? != row.shown_hash {
        return Err(ApiError::invalid(
            "the form shows another request than this one, so the vote does not count: open the page again",
        ));
    }
    let approver = visit.approver()?.clone();
    let vote = form.required("vote", 16)?;
    let ballot = match &*vote {
        "approve" => grant(&form, Ballot::approve(approver))?,
        "reject" => Ballot::reject(approver),
        _ => {
            return Err(ApiError::invalid(
                "`vote` has to be `approve` or `reject`: choose one of the two buttons",
            ));
        }
    };
    let ballot = match form.text("note", LONGEST_NOTE)? {
        Some(note) => ballot.note(note),
        None => ballot,
    };
    let via = Some(visit.caller.key.key_id.clone());
    let caller = visit.caller.for_authority();
    let voted = visit.authority().vote_for(&caller, row.id, ballot, via);
    let row = voted.await?;
    Ok(see(&format!("/console/approvals/{}", row.id)))
}

/// Adds what an approval grants beyond the one call, if the form says so.
fn grant(form: &Form, ballot: Ballot) -> Result<Ballot, ApiError> {
    let times: Option<u32> = form.parsed("times", "a whole number of uses, such as 5")?;
    let Some(lasts) = form.text("for", 32)? else {
        return Ok(match times {
            None => ballot,
            Some(times) => ballot.times_in_any_context(times),
        });
    };
    let lasts = parse_positive_duration(lasts.trim())
        .map_err(|why| ApiError::invalid(format!("`For how long`: {why}")))?;
    Ok(ballot.for_any_context(lasts, times.unwrap_or(u32::MAX)))
}
