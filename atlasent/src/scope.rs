//! ATI scopes that an agent's token has to grant before an authority is asked.
//!
//! [`HasClaims`] is what [`Ask::scope`](crate::authority::Ask::scope) and the `claims` argument of
//! [`protect`](macro@crate::protect) accept: verified claims, or a pointer to them.

use std::sync::Arc;

use ati_client::Claims;

use crate::wire::EvaluateRequest;
use crate::{Denied, Error};

/// The code of a refusal because the claims do not grant the scope.
const SCOPE_MISSING: &str = "SCOPE_MISSING";
/// The code of a refusal because the claims belong to another agent.
const SCOPE_OF_ANOTHER_AGENT: &str = "SCOPE_OF_ANOTHER_AGENT";

/// A required scope, the subject of the claims, and whether the claims grant the scope.
#[derive(Debug)]
pub(crate) struct RequiredScope {
    required: String,
    subject: String,
    granted: Result<bool, ati_client::Error>,
}

impl RequiredScope {
    pub(crate) fn new(required: &str, claims: &Claims) -> Self {
        Self {
            required: required.to_owned(),
            subject: claims.sub().to_owned(),
            granted: claims.scopes().grants(required),
        }
    }

    /// Refuses unless the claims belong to the agent of the request and grant the scope.
    pub(crate) fn require(&self, request: &EvaluateRequest) -> Result<(), Error> {
        let granted = match &self.granted {
            Ok(granted) => *granted,
            Err(error) => return Err(Error::invalid(error.to_string())),
        };
        let refuse = |code: &str, reason: String, missing: Option<String>| {
            Err(Denied {
                code: Some(code.to_owned()),
                missing_scope: missing,
                ..Denied::new(
                    request.action_type.clone(),
                    request.actor_id.clone(),
                    reason,
                )
            }
            .into())
        };
        if self.subject != request.actor_id.as_str() {
            let reason = format!(
                "the claims for the scope `{}` belong to another agent: take the agent from `claims.sub()`",
                self.required
            );
            return refuse(SCOPE_OF_ANOTHER_AGENT, reason, None);
        }
        if !granted {
            let reason = format!(
                "the agent's token does not grant the scope `{}`",
                self.required
            );
            return refuse(SCOPE_MISSING, reason, Some(self.required.clone()));
        }
        Ok(())
    }
}

/// A value that holds the claims of a verified ATI token: the claims, or a pointer to them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds no verified ATI claims",
    label = "this is not an `ati_client::Claims`",
    note = "claims come from `ati_client::Verifier::verify`; those that `inspect` reads are not verified"
)]
pub trait HasClaims {
    /// Returns the claims.
    fn claims(&self) -> &Claims;
}

impl HasClaims for Claims {
    fn claims(&self) -> &Claims {
        self
    }
}

impl<T: HasClaims + ?Sized> HasClaims for &T {
    fn claims(&self) -> &Claims {
        T::claims(self)
    }
}

impl<T: HasClaims + ?Sized> HasClaims for Arc<T> {
    fn claims(&self) -> &Claims {
        T::claims(self)
    }
}
