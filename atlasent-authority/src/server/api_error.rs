//! Why a request has no answer, as the contract has it: a status, and
//! `{"message", "code", "request_id"}`.

use std::borrow::Cow;

use atlasent::Error;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::entry::request_id::REQUEST_ID;
use super::log_limit::OUTAGES;
use crate::store::StoreError;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    message: Cow<'static, str>,
    /// Seconds to wait before the next try.
    pub(super) retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(super) fn unauthorized(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    pub(super) fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// A body or a parameter that cannot be read.
    pub(super) fn unreadable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A field that can be read, and breaks a rule.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FIELD", message)
    }

    /// Somebody should come back later.
    pub(super) fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).after(1)
    }

    /// What is wrong, for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The answer, which names the request.
    pub(super) fn respond(self, request_id: &str) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            message: &'a str,
            code: &'a str,
            request_id: &'a str,
        }
        let body = Json(Body {
            message: &self.message,
            code: self.code,
            request_id,
        });
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // For the log and the metrics: the code stands in the body only.
        response.extensions_mut().insert(Refused(self.code));
        response
    }
}

/// The code of the problem that a response tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub(super) &'static str);

/// What kept the authority from answering: the operation that failed. Why it failed is for the log,
/// since that may name files and hosts.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::Invalid(_) => Self::invalid(error.to_string()),
            Error::Failed(failure) => {
                let operation = failure.message().to_owned();
                let source = std::error::Error::source(&error);
                let cause = source.map(ToString::to_string);
                log_outage("the authority's store fails", &operation, cause.as_deref());
                if let Some(StoreError::Incomplete(_)) =
                    source.and_then(|source| source.downcast_ref())
                {
                    return Self::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "TRAIL_INCOMPLETE",
                        "the audit trail lacks events, so nothing was signed: the server's log names them",
                    );
                }
                Self::unavailable("STORE_UNAVAILABLE", format!("{operation}: try again"))
            }
            _ => {
                log_outage("the authority refuses to answer", &error.to_string(), None);
                Self::unavailable("STORE_UNAVAILABLE", "the request has no answer: try again")
            }
        }
    }
}

/// Logs why a request has no answer: one line a second for each kind, however many requests fail.
pub(super) fn log_outage(kind: &'static str, operation: &str, cause: Option<&str>) {
    if let Some(suppressed) = OUTAGES.admit(kind) {
        tracing::error!(target: "atlasent", operation, cause, suppressed, "{kind}");
    }
}

#[cfg(test)]
mod tests {
    use atlasent::error::{Code, Failure};

    use super::*;

    #[test]
    fn a_failure_names_its_operation_and_not_its_cause() {
        let failure = Failure::new(Code::ServerError, "the events could not be read");
        let failure = failure.with_source(std::io::Error::other("/var/lib/hunter2 is gone"));
        let problem = Problem::from(Error::from(failure));
        assert_eq!(problem.message, "the events could not be read: try again");
        assert_eq!(problem.code, "STORE_UNAVAILABLE");
    }
}
