//! The endpoint that copies the whole store.

use std::fs::File;
use std::io::{Read, Take};
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::keys::ApiScope;
use crate::local::{failed, unavailable};
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::store::{Store, StoreError};

/// Answers `POST /v1/store/backup`: sends the bytes of the store's file as it was at one moment.
/// The API key needs the scope `audit.export`, and `store.backup` if the store holds other
/// organizations than `local`, registered or not.
pub(super) async fn backup<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let deadline = Instant::now() + app.settings.export_timeout;
    caller.require_scope(ApiScope::AuditExport)?;
    body::check_unused(request, &caller).await?;
    // The copy holds every organization, and a key of `local` may belong to anybody there.
    if app.organizations.count() > 0 || has_others(&caller).await? {
        caller.require_scope(ApiScope::StoreBackup)?;
    }
    // A backup holds a slot of the exports until its client has received it.
    let pool = &app.read_pools.exports;
    let slot = pool.slot(&caller.org.id).await?;
    let (file, length) = copy_store(&caller).await?;
    let mut response = pool.body(file, length, slot, deadline)?.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

async fn has_others<S: Store>(caller: &ApiCaller<S>) -> Result<bool, ApiError> {
    let others = caller.authority().store().backup_has_others().await;
    Ok(others.map_err(|error| unavailable(failed::BACKUP, error))?)
}

async fn copy_store<S: Store>(caller: &ApiCaller<S>) -> Result<(Take<File>, u64), ApiError> {
    let copied = caller.authority().store().backup().await;
    let file = copied.map_err(|error| match error {
        StoreError::Unsupported(why) => {
            ApiError::new(StatusCode::NOT_IMPLEMENTED, "BACKUP_UNSUPPORTED", why)
        }
        error => ApiError::from(unavailable(failed::BACKUP, error)),
    })?;
    let metadata = file.metadata();
    let length = metadata
        .map_err(|error| unavailable(failed::BACKUP, StoreError::failed(error)))?
        .len();
    let key_id = &caller.key.key_id;
    tracing::info!(target: "atlasent", bytes = length, key_id, "the store was backed up");
    Ok((file.take(length), length))
}
