//! The errors of the API, in the contract's form: a status, and
//! `{"message", "code", "request_id"}`.

use std::borrow::Cow;

use atlasent::Error;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::entry::request_id::{REQUEST_ID, RequestId};
use super::log_limit::log_outage;
use crate::ledger::stops::NotLifted;
use crate::local::limits::StorageLimit;
use crate::local::schema::SchemaMismatch;
use crate::store::StoreError;

/// Why a request was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    message: Cow<'static, str>,
    /// Seconds to wait before the next try.
    pub(super) retry_after: Option<u64>,
}

impl ApiError {
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

    pub(super) fn unauthorized(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    pub(super) fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// An error for a body or a parameter that cannot be read.
    pub(super) fn unreadable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// An error for a field that can be read and breaks a rule.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FIELD", message)
    }

    /// An error that asks the caller to try again in a second.
    pub(super) fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(1)
    }

    /// An error for an answer that cannot be written as JSON. Logs why.
    pub(super) fn unwritable(error: &serde_json::Error) -> Self {
        tracing::error!(target: "atlasent", %error, "an answer cannot be written");
        Self::unavailable("ANSWER_UNWRITABLE", "the answer cannot be written")
    }

    /// Returns the error for a response that was built elsewhere with an error status, such as the
    /// response of an extractor of `axum`. Returns `None` for the status of a success.
    pub(super) fn from_status(status: StatusCode) -> Option<Self> {
        let (code, message) = if status.is_client_error() {
            ("BAD_REQUEST", "the server cannot read the request")
        } else if status.is_server_error() {
            ("INTERNAL_ERROR", "the server failed: report this")
        } else {
            return None;
        };
        Some(Self::new(status, code, message))
    }

    /// The explanation, for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Sets how many seconds the caller should wait before the next try.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Builds the response, whose body names the request.
    pub(super) fn respond(&self, request_id: &RequestId) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            message: &'a str,
            code: &'a str,
            request_id: &'a str,
        }
        let request_id = &request_id.0;
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
        response
    }
}

/// Hands the error to [`entry::pass`](super::entry::pass), which knows the request's id and builds
/// the response.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Names the operation of the authority that failed. The cause goes to the log only, since it may
/// name files and hosts.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Invalid(_) => Self::invalid(error.to_string()),
            Error::Failed(failure) => {
                let operation = failure.message().to_owned();
                let source = std::error::Error::source(&error);
                let cause = source.map(ToString::to_string);
                if source.is_some_and(|source| source.is::<SchemaMismatch>()) {
                    let status = StatusCode::PRECONDITION_FAILED;
                    return Self::new(status, "SCHEMA_MISMATCH", operation);
                }
                if source.is_some_and(|source| source.is::<StorageLimit>()) {
                    let status = StatusCode::INSUFFICIENT_STORAGE;
                    return Self::new(status, "STORAGE_LIMIT", operation);
                }
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

impl From<NotLifted> for ApiError {
    fn from(why: NotLifted) -> Self {
        match why {
            NotLifted::NotInEffect => Self::new(
                StatusCode::NOT_FOUND,
                "STOP_NOT_FOUND",
                "no such stop is in effect: it was lifted before, has ended, or never existed",
            ),
            NotLifted::NotByTestKey => Self::forbidden(
                "LIVE_STOP",
                "a `live` key set this stop: lift it with a `live` key",
            ),
        }
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
        let error = ApiError::from(Error::from(failure));
        assert_eq!(error.message, "the events could not be read: try again");
        assert_eq!(error.code, "STORE_UNAVAILABLE");
    }

    #[test]
    fn exactly_the_error_statuses_have_an_error() {
        for status in [200, 204, 302] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(ApiError::from_status(status), None);
        }
        for (status, code) in [
            (400, "BAD_REQUEST"),
            (405, "BAD_REQUEST"),
            (500, "INTERNAL_ERROR"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = ApiError::from_status(status).unwrap();
            assert_eq!((error.status, error.code), (status, code));
        }
    }

    #[test]
    fn a_full_trail_is_no_outage_and_its_message_says_what_to_do() {
        let limit = StorageLimit::check(7, std::num::NonZeroU64::new(7)).unwrap_err();
        let error = ApiError::from(limit.into_failure());
        assert_eq!(error.status, StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!((error.code, error.retry_after), ("STORAGE_LIMIT", None));
        assert_eq!(error.message(), limit.to_string());
    }
}
