//! Evaluates many requests in one call; each is decided and audited by itself (contract, part D).

use std::sync::Arc;

use atlasent::Decision;
use atlasent::wire::Evaluation;
use axum::extract::{Extension, Request, State};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::decide::decide;
use crate::keys::ApiScope;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::decide::EvaluateInput;
use crate::server::response::JsonBody;
use crate::store::Store;

/// The largest number of requests in a batch (contract, part D).
const MAX_ITEMS: usize = 100;

#[derive(Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    batch_id: Option<String>,
}

/// Answers `POST /v1/evaluate/batch`.
pub(super) async fn evaluate<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<JsonBody<BatchResponse>, ApiError> {
    caller.require_scope(ApiScope::Evaluate)?;
    let bytes = body::read(request, &caller).await?;
    let batch: BatchBody<'_> = body::parse(&bytes)?;
    let items = batch.items.unwrap_or_default();
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        let text = format!("`items` has to hold 1 to {MAX_ITEMS} requests");
        return Err(ApiError::invalid(text));
    }
    let batch_id = batch_id(batch.batch_id)?;
    // The items wait for the store together, so that they share its transactions.
    let evaluations = (items.iter()).map(|item| evaluate_item(&app, &caller, item));
    let evaluations = join_all(evaluations).await;
    let partial = evaluations.iter().any(Result::is_err);
    let items = (0..).zip(evaluations);
    Ok(JsonBody(BatchResponse {
        batch_id,
        items: items
            .map(|(index, evaluation)| Item::new(index, evaluation))
            .collect(),
        partial,
    }))
}

/// Returns the id that the caller gave the batch, or a new one.
fn batch_id(sent: Option<String>) -> Result<String, ApiError> {
    let Some(sent) = sent else {
        return Ok(Uuid::new_v4().to_string());
    };
    match Uuid::try_parse(&sent) {
        Ok(_) => Ok(sent),
        Err(_) => Err(ApiError::invalid("`batch_id` has to be a UUID")),
    }
}

async fn evaluate_item<S: Store>(
    app: &App<S>,
    caller: &ApiCaller<S>,
    item: &RawValue,
) -> Result<Evaluation, ApiError> {
    let item = item.get().as_bytes();
    caller.check_body(item)?;
    let input = EvaluateInput::read(item)?;
    let decided = decide(app, caller, &input).await?;
    Ok(decided.into_answer(app, input, item.len()))
}

#[derive(Serialize)]
pub(super) struct BatchResponse {
    batch_id: String,
    items: Vec<Item>,
    partial: bool,
}

#[derive(Serialize)]
struct Item {
    index: usize,
    #[serde(flatten)]
    result: ItemResult,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ItemResult {
    Decided(Box<Evaluation>),
    /// A request that was not decided. Readers that know only decisions read it as a denial.
    Failed {
        decision: Decision,
        permitted: bool,
        error_code: &'static str,
        error_message: String,
    },
}

impl Item {
    fn new(index: usize, evaluation: Result<Evaluation, ApiError>) -> Self {
        let result = match evaluation {
            Ok(evaluation) => ItemResult::Decided(Box::new(evaluation)),
            Err(error) => ItemResult::Failed {
                decision: Decision::Deny,
                permitted: false,
                error_code: error.code,
                error_message: error.message().to_owned(),
            },
        };
        Self { index, result }
    }
}
