//! The signed head of the audit trail: `GET /v1/audit/head`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};

use crate::keys::ApiScope;
use crate::local::unreadable;
use crate::server::api_error::Problem;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::signing::signed_head;
use crate::store::Store;

/// Answers `GET /v1/audit/head` to the holder of a key with the scope `audit.read`.
pub(crate) async fn signed<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
) -> Response {
    let answer = async {
        client.may(ApiScope::AuditRead)?;
        let authority = &app.authority;
        let head = signed_head(authority.store(), &app.signing, &*authority.clock).await;
        Ok::<_, Problem>(head.map_err(unreadable)?)
    };
    match answer.await {
        Ok(head) => Json(head).into_response(),
        Err(problem) => problem.respond(&client.request_id),
    }
}
