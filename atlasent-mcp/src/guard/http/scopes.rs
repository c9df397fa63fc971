//! Requests whose token lacks a scope.
//!
//! By the protocol's chapter on authorization ("Scope Challenge Handling"), such a request gets 403
//! and a challenge, so that the client can get a token with the scope and send the request again.
//! The model does not see this refusal. All other refusals are tool errors with status 200:
//!
//! - What the policies deny, hold or escalate, a used-up rate, invalid arguments, a changed tool and
//!   an unmapped operation: another token does not help. After a 403, clients would log in again and
//!   again, and hide the reason from the model.
//! - A field that a scope hides: a challenge would reveal that the field exists.
//!
//! The body of a 403 is the response that a client over stdio would get: a tool error with
//! structured content, or a JSON-RPC error, also for a call that was sent as a task. A client that
//! cannot get another token shows it to the model.
//!
//! The scope is checked before the message reaches a session, because a session cannot set the HTTP
//! status. The session checks the scope again.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::authentication::Authentication;
use super::headers;
use crate::guard::Guard;
use crate::guard::message::{Kind, Message};
use crate::{Caller, Mapping, Refusal};

/// The refusal of a request whose token lacks a scope.
pub(super) struct MissingScope {
    challenge: Option<HeaderValue>,
    /// The JSON-RPC response.
    text: String,
}

impl MissingScope {
    /// Returns the refusal of a request if the token of its caller lacks the scope that it needs.
    pub(super) fn find(
        guard: &Guard,
        authentication: &Authentication,
        message: &Message,
        caller: &Caller,
    ) -> Option<Self> {
        let Kind::Request { id, .. } = message.kind() else {
            return None;
        };
        let scope = guard.missing_scope(message, caller)?;
        let refusal = Refusal::missing_scope_of(&scope);
        Some(Self {
            challenge: authentication.scope_challenge(&scope, caller),
            text: guard.refused(message, id, &refusal),
        })
    }

    pub(super) fn response(self) -> Response {
        let kind = [(CONTENT_TYPE, "application/json")];
        let mut response = (StatusCode::FORBIDDEN, kind, self.text).into_response();
        let challenge = self.challenge.map(|value| (WWW_AUTHENTICATE, value));
        response.headers_mut().extend(challenge);
        response
    }
}

/// Returns the scope that a request needs, if its headers tell. The body is not read, since the
/// request has no caller.
pub(super) fn scope_of_head(mapping: &Mapping, headers: &HeaderMap) -> Option<String> {
    let operation = headers::operation(headers)?;
    mapping.list_action(&operation)?;
    mapping.scope(&operation)
}
