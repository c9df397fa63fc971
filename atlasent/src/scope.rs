//! The ATI scope that an agent's token has to grant before an authority is asked.

use std::sync::Arc;

use ati_client::Claims;

use crate::{Decision, Denied, Error, EvaluateRequest};

/// The code of a refusal for want of a scope.
const CODE: &str = "SCOPE_MISSING";

/// A scope, and whether it is granted.
#[derive(Debug)]
pub(crate) struct Checked {
    required: String,
    granted: Result<bool, ati_client::Error>,
}

impl Checked {
    pub(crate) fn new(required: &str, claims: &Claims) -> Self {
        Self {
            required: required.to_owned(),
            granted: claims.scopes().grants(required),
        }
    }

    /// A refusal unless it is granted.
    pub(crate) fn require(&self, request: &EvaluateRequest) -> Result<(), Error> {
        match &self.granted {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied {
                decision: Decision::Deny,
                action: request.action_type.clone(),
                agent: request.actor_id.clone(),
                reason: format!(
                    "the agent's token does not grant the scope `{}`",
                    self.required
                ),
                code: Some(CODE.to_owned()),
                evaluation_id: None,
                request_id: None,
                escalation_id: None,
                approval_url: None,
                audit_hash: None,
                outcome: None,
                missing_scope: Some(self.required.clone()),
                retry_after: None,
            }
            .into()),
            Err(error) => Err(Error::invalid(error.to_string())),
        }
    }
}

/// Something that holds the claims of a verified ATI token: the claims themselves, or a pointer to them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds no verified ATI claims",
    label = "this is not an `ati_client::Claims`",
    note = "claims come from `ati_client::Verifier::verify`; what `inspect` reads from a token, nobody vouches for"
)]
pub trait HasClaims {
    /// The claims.
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
