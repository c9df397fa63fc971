//! The endpoint of receipts: how the body of a permit ended (contract, part D).

use std::sync::Arc;

use atlasent::wire::{PermitToken, Receipt, ReceiptOutcome, RecordedReceipt, ResultHash};
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::keys::ApiScope;
use crate::ledger::ReceiptRefusal;
use crate::server::api_error::ApiError;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::path_id::PathId;
use crate::server::response::JsonBody;
use crate::store::Store;

#[derive(Deserialize)]
struct ReceiptBody {
    permit_token: String,
    outcome: String,
    duration_ms: u64,
    result_hash: Option<String>,
    error: Option<String>,
}

/// Answers `POST /v1/permits/{id}/complete`. A key that may verify permits may tell how their
/// bodies ended.
pub(super) async fn complete<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<RecordedReceipt>, ApiError> {
    caller.require_scope(ApiScope::Verify)?;
    let mut body: ReceiptBody = body::read_json(request, &caller).await?;
    body.error = body.error.map(|error| caller.without_secret(&error));
    let receipt = receipt(id, body)?;
    let recorded = caller
        .authority()
        .complete_for(&caller.for_authority(), receipt)
        .await?;
    recorded.map(JsonBody).map_err(refused)
}

/// Reads the fields of a receipt.
fn receipt(id: String, body: ReceiptBody) -> Result<Receipt, ApiError> {
    let token = PermitToken::new(body.permit_token)?;
    let outcome = match &*body.outcome {
        "completed" => ReceiptOutcome::Completed,
        "failed" => ReceiptOutcome::Failed,
        "cancelled" => ReceiptOutcome::Cancelled,
        _ => {
            return Err(ApiError::invalid(
                "`outcome` has to be `completed`, `failed` or `cancelled`",
            ));
        }
    };
    let mut receipt = Receipt::new(id, token, outcome, std::time::Duration::ZERO);
    receipt.duration_ms = body.duration_ms;
    receipt.result_hash = body.result_hash.map(ResultHash::parse).transpose()?;
    receipt.error = body.error;
    Ok(receipt)
}

fn refused(refusal: ReceiptRefusal) -> ApiError {
    let (status, code) = match refusal {
        ReceiptRefusal::OtherToken => (StatusCode::FORBIDDEN, "PERMIT_TOKEN_MISMATCH"),
        ReceiptRefusal::UnknownPermit => (StatusCode::NOT_FOUND, "PERMIT_NOT_FOUND"),
        ReceiptRefusal::NotUsed => (StatusCode::CONFLICT, "PERMIT_NOT_USED"),
        ReceiptRefusal::Conflict => (StatusCode::CONFLICT, "RECEIPT_CONFLICT"),
    };
    ApiError::new(status, code, refusal.to_string())
}
