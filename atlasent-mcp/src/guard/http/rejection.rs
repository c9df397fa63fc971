//! Requests that get an HTTP error instead of a response of the session.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

use super::authentication::{Authentication, Unauthenticated};
use super::scopes::MissingScope;
use crate::guard::message::{Malformed, error_response};

/// Why a request gets an HTTP error.
pub(super) enum Rejection {
    /// An error with the code of an invalid request.
    Status(StatusCode, &'static str),
    /// A request without a caller, and the scope that the request needs, if its headers tell.
    Unauthenticated(Unauthenticated, Option<String>),
    /// A request whose token lacks a scope.
    MissingScope(MissingScope),
    /// A body that is not a message.
    Malformed(Malformed),
    /// A JSON-RPC error, as text.
    Rpc(StatusCode, String),
}

impl Rejection {
    /// Rejects a request for a session that is over, never existed, or belongs to another agent.
    pub(super) fn no_such_session() -> Self {
        Self::Status(StatusCode::NOT_FOUND, "there is no such session")
    }

    /// Rejects a body that exceeds the limit, or ends early.
    pub(super) fn too_large() -> Self {
        let why = "the body is too large, or was cut";
        Self::Status(StatusCode::PAYLOAD_TOO_LARGE, why)
    }

    /// Returns the response. `authentication` writes the challenge of a request without a caller.
    pub(super) fn response(self, authentication: &Authentication) -> Response {
        let json = |status: StatusCode, text: String| {
            (status, [(CONTENT_TYPE, "application/json")], text).into_response()
        };
        match self {
            Self::Status(status, why) => json(
                status,
                error_response(None, Malformed::INVALID_REQUEST, why, None),
            ),
            Self::Malformed(malformed) => json(StatusCode::BAD_REQUEST, malformed.response()),
            Self::Rpc(status, text) => json(status, text),
            Self::Unauthenticated(why, scope) => {
                let mut response = StatusCode::UNAUTHORIZED.into_response();
                if let Some(challenge) = authentication.challenge(why, scope.as_deref()) {
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                response
            }
            Self::MissingScope(missing) => missing.response(),
        }
    }
}
