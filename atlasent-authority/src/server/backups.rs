//! A copy of the whole store: `POST /v1/store/backup`.

use std::io::{Read, Take};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::gate::Client;
use super::problem::Problem;
use crate::keys::Scope;
use crate::local::unavailable;
use crate::store::{Store, StoreError};

/// Answers `POST /v1/store/backup` to the holder of a key with the scope `audit.export`: the bytes of a store's file, of one
/// moment.
pub(super) async fn backup<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<Client>,
) -> Response {
    match copy(&app, &client).await {
        Ok((file, length)) => {
            let body = Body::from_stream(super::reading::stream(file));
            let mut response = body.into_response();
            let headers = response.headers_mut();
            let kind = HeaderValue::from_static("application/octet-stream");
            headers.insert(header::CONTENT_TYPE, kind);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            response
        }
        Err(problem) => problem.respond(&client.request_id),
    }
}

async fn copy<S: Store>(
    app: &App<S>,
    client: &Client,
) -> Result<(Take<std::fs::File>, u64), Problem> {
    client.may(Scope::AuditExport)?;
    let file = app
        .authority
        .store()
        .backup()
        .await
        .map_err(|error| match error {
            StoreError::Unsupported(why) => {
                Problem::new(StatusCode::NOT_IMPLEMENTED, "BACKUP_UNSUPPORTED", why)
            }
            error => Problem::from(unavailable(error)),
        })?;
    let length = file
        .metadata()
        .map_err(|error| unavailable(StoreError::failed(error)))?;
    let length = length.len();
    tracing::info!(target: "atlasent", bytes = length, key_id = client.key.key_id, "the store was backed up");
    Ok((file.take(length), length))
}
