//! The endpoints that decide: evaluate, verify, revoke, and the stream.

use std::sync::Arc;

use atlasent::Decision;
use atlasent::wire::{Evaluation, Revocation, Verification};
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::duration::whole_seconds;
use crate::keys::ApiScope;
use crate::local::evaluate::EvaluateOutcome;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::decide::{EvaluateInput, RevokeInput, read_verify};
use crate::server::input::query::Query;
use crate::server::response::JsonBody;
use crate::store::Store;

/// Answers `POST /v1-evaluate`.
pub(super) async fn evaluate<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let with_trace = wants_trace(&query);
    let evaluation = read_and_decide(&app, &caller, request, with_trace).await?;
    let retry_after = evaluation.retry_after;
    let mut response = JsonBody(evaluation).into_response();
    if let Some(wait) = retry_after {
        // Rounded up: an earlier request would be denied again.
        let seconds = HeaderValue::from(whole_seconds(wait));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    Ok(response)
}

/// Answers `POST /v1-evaluate-stream`: sends the decision as server-sent events. The stream has no
/// progress events, since this authority decides at once.
pub(super) async fn stream<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let evaluation = read_and_decide(&app, &caller, request, false).await?;
    let decision = serde_json::to_value(evaluation);
    let mut decision = decision.map_err(|error| ApiError::unwritable(&error))?;
    if let Some(fields) = decision.as_object_mut() {
        fields.insert("is_final".to_owned(), true.into());
    }
    let events = format!(
        "event: decision\ndata: {}\n\nevent: done\ndata: {{}}\n\n",
        one_line(&decision.to_string())
    );
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, events).into_response())
}

/// The answer to a verification. The first SDKs read `verified` (contract, part B).
#[derive(Serialize)]
pub(super) struct VerifyResponse {
    #[serde(flatten)]
    verification: Verification,
    verified: bool,
}

/// Answers `POST /v1-verify-permit`.
pub(super) async fn verify<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<JsonBody<VerifyResponse>, ApiError> {
    caller.require_scope(ApiScope::Verify)?;
    let bytes = body::read(request, &caller).await?;
    let request = read_verify(&bytes)?;
    let verification = caller
        .authority()
        .verify_for(caller.for_authority(), &request)
        .await?;
    app.metrics.count_verification(&verification);
    Ok(JsonBody(VerifyResponse {
        verified: verification.valid,
        verification,
    }))
}

/// Answers `POST /v1-revoke-permit`.
pub(super) async fn revoke<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<JsonBody<Revocation>, ApiError> {
    caller.require_scope(ApiScope::Revoke)?;
    let bytes = body::read(request, &caller).await?;
    let input = RevokeInput::read(&bytes)?;
    let reason = caller.without_secret(&input.reason);
    let revocation = caller
        .authority()
        .revoke_for(caller.for_authority(), &input.token, &reason)
        .await?;
    Ok(JsonBody(revocation))
}

async fn read_and_decide<S: Store>(
    app: &App<S>,
    caller: &ApiCaller<S>,
    request: Request<Body>,
    with_trace: bool,
) -> Result<Evaluation, ApiError> {
    caller.require_scope(ApiScope::Evaluate)?;
    let bytes = body::read(request, caller).await?;
    let input = EvaluateInput::read(&bytes)?;
    let decided = decide(app, caller, &input).await?;
    let trace = || caller.authority().policies().explain(&input.request).trace;
    let constraint_trace = with_trace.then(trace);
    let mut evaluation = decided.into_answer(app, input, bytes.len());
    evaluation.constraint_trace = constraint_trace;
    Ok(evaluation)
}

/// A recorded decision.
pub(super) struct Decided {
    evaluation: Evaluation,
    /// Whether the shadow policies, which are those of `local`, decide the request, too: a
    /// repetition was not decided now.
    is_shadowed: bool,
}

impl Decided {
    /// Returns the answer, and has the shadow policies decide the request, too. `bytes` is the
    /// length of the request as it was sent.
    pub(super) fn into_answer<S: Store>(
        self,
        app: &App<S>,
        input: EvaluateInput,
        bytes: usize,
    ) -> Evaluation {
        if self.is_shadowed {
            app.shadow(input.request, &self.evaluation, bytes);
        }
        self.evaluation
    }
}

/// Evaluates a request and records the decision.
pub(super) async fn decide<S: Store>(
    app: &App<S>,
    caller: &ApiCaller<S>,
    input: &EvaluateInput,
) -> Result<Decided, ApiError> {
    let request = &input.request;
    let hash = Some(input.execution_hash.clone());
    let outcome = caller
        .authority()
        .evaluate_for(caller.for_authority(), request, hash)
        .await?;
    let (mut evaluation, is_shadowed) = match outcome {
        EvaluateOutcome::First(evaluation) => {
            count(app, caller, &request.action_type, evaluation.decision);
            (evaluation, caller.org.id.is_local())
        }
        EvaluateOutcome::Repeated(evaluation) => (evaluation, false),
        EvaluateOutcome::Conflict => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "REQUEST_ID_REUSED",
                "another request with this `request_id` was allowed before: give each request its own",
            ));
        }
    };
    if request.options.request_id.is_none() {
        evaluation.request_id = Some(caller.request_id.clone());
    }
    if !evaluation.decision.is_allow() {
        // The id of a refusal is no token and opens nothing (contract, part B).
        evaluation.decision_id = Some(uuid::Uuid::new_v4().to_string());
    }
    // The explanation names files and the attributes that policies read, so only callers that ask
    // for it get it.
    if request.options.explain != Some(true) {
        evaluation.explanation.clear();
    }
    Ok(Decided {
        evaluation,
        is_shadowed,
    })
}

fn count<S: Store>(app: &App<S>, caller: &ApiCaller<S>, action: &str, decision: Decision) {
    let org = &caller.org.id;
    if org.is_local() {
        let is_named = caller.authority().policies().names_action(action);
        app.metrics.count_decision(action, is_named, decision);
    } else {
        app.metrics.count_org_decision(org, decision);
    }
}

fn wants_trace(query: &Query) -> bool {
    let mut included = query.all("include");
    included.any(|list| list.split(',').any(|part| part == "constraint_trace"))
}

/// Escapes the characters of JSON text at which some readers break lines although the standard for
/// server-sent events does not (contract, part B).
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
            ("", false),
            ("include=constraint_trace", true),
            ("a=b&include=other,constraint_trace", true),
            ("include=constraint_trace&include=other", true),
            ("%69nclude=constraint%5Ftrace", true),
            ("include=constraint_traces", false),
        ] {
            let query = Query::parse(query).unwrap();
            assert_eq!(wants_trace(&query), wanted, "{query:?}");
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
