//! The time limit of a request.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::server::api_error::ApiError;
use crate::server::log_limit::log_outage;

/// A time limit and the moment at which it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// A deadline that ends after `limit`, counted from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
        }
    }

    /// Awaits a future until the deadline. A panic of the future becomes an error of the server: a
    /// broken connection would not tell the client whose fault it was.
    pub(crate) async fn run<T>(self, answering: impl Future<Output = T>) -> Result<T, ApiError> {
        // After a panic the future is dropped, and its shared locks recover from poisoning.
        let answering = AssertUnwindSafe(answering).catch_unwind();
        match tokio::time::timeout_at(self.at, answering).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                log_outage("a request ended in a panic", "answer a request", None);
                Err(ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "INTERNAL_ERROR",
                    "the request could not be answered",
                ))
            }
            Err(_) => Err(ApiError::unavailable(
                "TIMEOUT",
                format!("there was no answer within {} ms", self.limit.as_millis()),
            )),
        }
    }
}
