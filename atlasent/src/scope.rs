//! The ATI token of a request: whose it is, who acts with it, and the scopes that it has to grant
//! before an authority is asked.
//!
//! [`HasClaims`] is what [`Ask::claims`](crate::authority::Ask::claims),
//! [`Ask::scope`](crate::authority::Ask::scope) and the `claims` argument of
//! [`protect`](macro@crate::protect) accept: verified claims, or a pointer to them.

use std::sync::Arc;
use std::time::SystemTime;

use ati_client::Claims;

use crate::wire::EvaluateRequest;
use crate::{Agent, Denied, Error};

/// The code of a refusal because the claims do not grant the scope.
const SCOPE_MISSING: &str = "SCOPE_MISSING";
/// The code of a refusal because the claims belong to another agent.
const SCOPE_OF_ANOTHER_AGENT: &str = "SCOPE_OF_ANOTHER_AGENT";
/// The code of a refusal because the token expired while the request waited.
const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";

/// The claims of a request, and the scope that they have to grant, if one is required.
#[derive(Debug)]
pub(crate) struct RequiredClaims {
    claims: Claims,
    scope: Option<String>,
}

impl RequiredClaims {
    pub(crate) fn new(claims: &Claims, scope: Option<&str>) -> Self {
        Self {
            claims: claims.clone(),
            scope: scope.map(str::to_owned),
        }
    }

    /// Refuses unless the claims belong to the agent of the request and grant the scope.
    pub(crate) fn require(&self, request: &EvaluateRequest) -> Result<(), Error> {
        let scope = self.scope.as_deref();
        let granted = match scope.map(|scope| self.claims.scopes().grants(scope)) {
            None => true,
            Some(Ok(granted)) => granted,
            Some(Err(error)) => return Err(Error::invalid(error.to_string())),
        };
        let refuse = |code: &str, reason: String, missing: Option<String>| {
            Err(Denied {
                code: Some(code.to_owned()),
                missing_scope: missing,
                ..Denied::new(
                    request.action_type.to_string(),
                    request.actor_id.clone(),
                    reason,
                )
            }
            .into())
        };
        if self.claims.sub() != request.actor_id.as_str() {
            let what = scope.map(|scope| format!(" for the scope `{scope}`"));
            let reason = format!(
                "the claims{} belong to another agent: take the agent from `claims.sub()`",
                what.unwrap_or_default()
            );
            return refuse(SCOPE_OF_ANOTHER_AGENT, reason, None);
        }
        if let (false, Some(scope)) = (granted, scope) {
            let reason = format!("the agent's token does not grant the scope `{scope}`");
            return refuse(SCOPE_MISSING, reason, Some(scope.to_owned()));
        }
        Ok(())
    }

    /// Refuses if the token has expired since it was verified.
    pub(crate) fn require_current(&self, request: &EvaluateRequest) -> Result<(), Error> {
        if self.claims.require_current(SystemTime::now()).is_ok() {
            return Ok(());
        }
        let reason =
            "the agent's token expired while the request waited: send it again with a new one";
        Err(Denied {
            code: Some(TOKEN_EXPIRED.to_owned()),
            ..Denied::new(
                request.action_type.to_string(),
                request.actor_id.clone(),
                reason.to_owned(),
            )
        }
        .into())
    }

    /// Returns the agents that act with the claims for the agent, the current one first.
    pub(crate) fn actors(&self) -> Result<Vec<Agent>, Error> {
        self.claims.actors().map(Agent::new).collect()
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
