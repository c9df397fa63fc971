//! A copy of the whole store: `POST /v1/store/backup`.

use std::io::{Read, Take};
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::keys::ApiScope;
use crate::local::{failed, unavailable};
use crate::server::api_error::Problem;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::store::{Store, StoreError};

/// Answers `POST /v1/store/backup` to the holder of a key with the scope `audit.export`: the bytes
/// of a store's file, of one moment.
pub(crate) async fn backup<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
) -> Response {
    let answered = async {
        let deadline = Instant::now() + app.settings.export_timeout;
        client.may(ApiScope::AuditExport)?;
        // A backup is sent as an export is: it holds its place until it was taken.
        let lane = &app.readers.exports;
        let place = lane.place().await?;
        let (file, length) = copy(&app, &client).await?;
        let mut response = lane.body(file, length, place, deadline)?.into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok::<_, Problem>(response)
    };
    match answered.await {
        Ok(response) => response,
        Err(problem) => problem.respond(&client.request_id),
    }
}

async fn copy<S: Store>(
    app: &App<S>,
    client: &ApiCaller,
) -> Result<(Take<std::fs::File>, u64), Problem> {
    let file = app
        .authority
        .store()
        .backup()
        .await
        .map_err(|error| match error {
            StoreError::Unsupported(why) => {
                Problem::new(StatusCode::NOT_IMPLEMENTED, "BACKUP_UNSUPPORTED", why)
            }
            error => Problem::from(unavailable(failed::BACKUP, error)),
        })?;
    let length = file
        .metadata()
        .map_err(|error| unavailable(failed::BACKUP, StoreError::failed(error)))?;
    let length = length.len();
    tracing::info!(target: "atlasent", bytes = length, key_id = client.key.key_id, "the store was backed up");
    Ok((file.take(length), length))
}
