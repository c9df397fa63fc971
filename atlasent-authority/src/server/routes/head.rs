//! The endpoint of the chain's signed head.

use std::sync::Arc;

use atlasent::audit::SignedHead;
use axum::extract::{Extension, State};

use crate::keys::ApiScope;
use crate::local::unreadable;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::response::JsonBody;
use crate::signing::signed_head;
use crate::store::Store;

/// Answers `GET /v1/audit/head`. The API key needs the scope `audit.read`.
pub(super) async fn signed<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
) -> Result<JsonBody<SignedHead>, ApiError> {
    caller.require_scope(ApiScope::AuditRead)?;
    let authority = caller.authority();
    let head = signed_head(authority.store(), &app.signing, &*authority.clock).await;
    Ok(JsonBody(head.map_err(unreadable)?))
}
