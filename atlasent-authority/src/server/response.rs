//! Successful answers in JSON.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::api_error::ApiError;

/// A successful answer, written as JSON.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: Serialize> IntoResponse for JsonBody<T> {
    fn into_response(self) -> Response {
        // More than most answers need, so that it does not grow again and again.
        let mut json = Vec::with_capacity(1_024);
        match serde_json::to_writer(&mut json, &self.0) {
            Ok(()) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Err(error) => ApiError::unwritable(&error).into_response(),
        }
    }
}
