//! Admission: a place among the requests that are answered at a time, and a deadline.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::FutureExt;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::app::App;
use super::problem::Problem;

/// Takes a place among the requests that are answered at a time. Requests beyond that are refused
/// at once: a queue would only make answers that their clients no longer wait for.
pub(super) fn place<S>(app: &App<S>) -> Result<SemaphorePermit<'_>, Problem> {
    app.places
        .try_acquire()
        .map_err(|_| Problem::unavailable("OVERLOADED", "too many requests at a time: try again"))
}

/// A time limit, and when it is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// A deadline that is `limit` away.
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
        }
    }

    /// Awaits a future until the deadline. A panic in it is an answer, too: a broken connection
    /// would not tell the client whose fault it was.
    pub(super) async fn run<T>(self, answering: impl Future<Output = T>) -> Result<T, Problem> {
        // The future is dropped after a panic, and the locks that it shared survive poisoning.
        let answering = AssertUnwindSafe(answering).catch_unwind();
        match tokio::time::timeout_at(self.at, answering).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                tracing::error!(target: "atlasent", "a request ended in a panic");
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
