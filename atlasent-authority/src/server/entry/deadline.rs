//! The time limit of a request.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::server::api_error::{Problem, log_outage};

/// A time limit, and when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// A deadline that is `limit` away.
    pub(crate) fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
        }
    }

    /// Awaits a future until the deadline. A panic in it is an answer, too: a broken connection
    /// would not tell the client whose fault it was.
    pub(crate) async fn run<T>(self, answering: impl Future<Output = T>) -> Result<T, Problem> {
        // The future is dropped after a panic, and the locks that it shared survive poisoning.
        let answering = AssertUnwindSafe(answering).catch_unwind();
        match tokio::time::timeout_at(self.at, answering).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                log_outage("a request ended in a panic", "answer a request", None);
                Err(Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "INTERNAL_ERROR",
                    "the request could not be answered",
                ))
            }
            Err(_) => Err(Problem::unavailable(
                "TIMEOUT",
                format!("there was no answer within {} ms", self.limit.as_millis()),
            )),
        }
    }
}
