//! The endpoints that decide: evaluate, verify, revoke, and the stream.

use std::sync::Arc;

use atlasent::wire::{Evaluation, Verification};
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::app::App;
use super::body;
use super::caller::ApiCaller;
use super::problem::Problem;
use super::question::{self, Evaluate, Revoke};
use crate::keys::Scope;
use crate::local::evaluate::EvaluateOutcome;
use crate::store::Store;

/// `POST /v1-evaluate`
pub(super) async fn evaluate<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let traced = wants_trace(request.uri().query());
    let answered = read_and_decide(&app, &client, request, traced).await;
    let wait = answered.as_ref().ok().and_then(|answer| answer.retry_after);
    let mut response = respond(answered, &client);
    if let Some(wait) = wait {
        let seconds = HeaderValue::from(wait.as_secs());
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// `POST /v1-evaluate-stream`: the decision as server-sent events. Ours come at once, so that there
/// is no progress to tell.
pub(super) async fn stream<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let answered = read_and_decide(&app, &client, request, false).await;
    let events = answered.and_then(|evaluation| {
        let mut decision = serde_json::to_value(evaluation).map_err(unwritable)?;
        if let Some(fields) = decision.as_object_mut() {
            fields.insert("is_final".to_owned(), true.into());
        }
        Ok(format!(
            "event: decision\ndata: {}\n\nevent: done\ndata: {{}}\n\n",
            one_line(&decision.to_string())
        ))
    });
    match events {
        Ok(events) => {
            let headers = [
                (header::CONTENT_TYPE, "text/event-stream"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, events).into_response()
        }
        Err(problem) => problem.respond(&client.request_id),
    }
}

/// `POST /v1-verify-permit`
pub(super) async fn verify<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let answered = async {
        client.may(Scope::Verify)?;
        let bytes = body::read(request).await?;
        let question = question::read_verify(&bytes, &client.key)?;
        let verification = app.authority.verify_for(client.caller(), &question).await?;
        app.metrics.verified(&verification);
        Ok::<_, Problem>(Verified {
            verified: verification.valid,
            verification,
        })
    };
    respond(answered.await, &client)
}

/// The answer to a verification. The first SDKs read `verified` (contract, part B).
#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    verification: Verification,
    verified: bool,
}

/// `POST /v1-revoke-permit`
pub(super) async fn revoke<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let answered = async {
        client.may(Scope::Revoke)?;
        let bytes = body::read(request).await?;
        let asked = Revoke::read(&bytes, &client.key)?;
        let revocation = app
            .authority
            .revoke_for(client.caller(), &asked.token, &asked.reason)
            .await?;
        Ok::<_, Problem>(revocation)
    };
    respond(answered.await, &client)
}

async fn read_and_decide<S: Store>(
    app: &App<S>,
    client: &ApiCaller,
    request: Request<Body>,
    traced: bool,
) -> Result<Evaluation, Problem> {
    client.may(Scope::Evaluate)?;
    let bytes = body::read(request).await?;
    let question = Evaluate::read(&bytes, &client.key)?;
    let mut evaluation = decide(app, client, &question).await?;
    if traced {
        let policies = app.authority.policies();
        evaluation.constraint_trace = Some(policies.explain(&question.request).trace);
    }
    Ok(evaluation)
}

/// Asks the authority.
pub(super) async fn decide<S: Store>(
    app: &App<S>,
    client: &ApiCaller,
    question: &Evaluate,
) -> Result<Evaluation, Problem> {
    let request = &question.request;
    let hash = Some(question.execution_hash.clone());
    let answer = app.authority.evaluate_for(client.caller(), request, hash);
    let mut evaluation = match answer.await? {
        EvaluateOutcome::First(evaluation) => {
            let action = &request.action_type;
            let is_named = app.authority.policies().names_action(action);
            app.metrics.decided(action, is_named, evaluation.decision);
            evaluation
        }
        EvaluateOutcome::Repeated(evaluation) => evaluation,
        EvaluateOutcome::Conflict => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "REQUEST_ID_REUSED",
                "another request with this `request_id` was allowed before: give each request its own",
            ));
        }
    };
    if request.options.request_id.is_none() {
        evaluation.request_id = Some(client.request_id.clone());
    }
    if !evaluation.decision.is_allow() {
        // The id of the refusal, which is no token and opens nothing (contract, part B).
        evaluation.decision_id = Some(uuid::Uuid::new_v4().to_string());
    }
    // It names files and the attributes that policies read: for callers that ask for it.
    if request.options.explain != Some(true) {
        evaluation.explanation.clear();
    }
    Ok(evaluation)
}

pub(super) fn respond<T: Serialize>(answered: Result<T, Problem>, client: &ApiCaller) -> Response {
    match answered.and_then(|answer| write(&answer)) {
        Ok(response) => response,
        Err(problem) => problem.respond(&client.request_id),
    }
}

fn write<T: Serialize>(answer: &T) -> Result<Response, Problem> {
    // More than most answers need, so that it does not grow again and again.
    let mut json = Vec::with_capacity(1_024);
    serde_json::to_writer(&mut json, answer).map_err(unwritable)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

fn wants_trace(query: Option<&str>) -> bool {
    let parameters = query.unwrap_or_default().split('&');
    let mut included = parameters.filter_map(|parameter| parameter.strip_prefix("include="));
    included.any(|list| list.split(',').any(|part| part == "constraint_trace"))
}

fn unwritable(error: serde_json::Error) -> Problem {
    tracing::error!(target: "atlasent", %error, "an answer cannot be written");
    Problem::unavailable("ANSWER_UNWRITABLE", "the answer cannot be written")
}

/// JSON text without the characters at which readers break lines that the standard for streams does
/// not (contract, part B).
fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}' => {
                line.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => line.push(other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_given_to_whoever_asks_for_it() {
        for (query, wanted) in [
            (None, false),
            (Some("include=constraint_trace"), true),
            (Some("a=b&include=other,constraint_trace"), true),
            (Some("include=constraint_traces"), false),
        ] {
            assert_eq!(wants_trace(query), wanted, "{query:?}");
        }
    }

    #[test]
    fn no_reader_breaks_a_line_of_a_stream() {
        let json = serde_json::json!({ "reason": "a\u{85}b\u{2028}c\u{2029}d\u{b}e\u{c}f\ng" });
        let line = one_line(&json.to_string());
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}']));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            json
        );
    }
}
