//! The optional fields and required claims of a request, and how long it waits for approvers.

use std::time::Duration;

use crate::Error;
use crate::wire::{EvaluateRequest, RequestOptions};

/// The optional fields of a request, the claims that are checked before the authority is asked, and
/// how long a held request waits for approvers.
#[derive(Debug, Default)]
pub struct Conditions {
    // Boxed, since few requests set options and every future on the path carries this value.
    options: Option<Box<RequestOptions>>,
    wait: Option<Duration>,
    #[cfg(feature = "ati")]
    claims: Vec<crate::scope::RequiredClaims>,
}

impl Conditions {
    pub(crate) fn set_options(&mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) {
        let options = self.take_options().unwrap_or_default();
        self.options = Some(Box::new(set(options)));
    }

    /// Returns whether any optional fields were set.
    pub(super) fn has_options(&self) -> bool {
        self.options.is_some()
    }

    /// Takes the optional fields out, if any were set.
    pub(super) fn take_options(&mut self) -> Option<RequestOptions> {
        self.options.take().map(|options| *options)
    }

    /// Sets how long a held request waits for approvers.
    pub(crate) fn set_wait(&mut self, at_most: Duration) {
        self.wait = Some(at_most);
    }

    /// Returns how long a held request waits for approvers. `None` if it does not wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Adds the claims of the agent, and the scope that they have to grant, if one is required.
    #[cfg(feature = "ati")]
    pub(crate) fn require_claims(&mut self, claims: &ati_client::Claims, scope: Option<&str>) {
        let claims = crate::scope::RequiredClaims::new(claims, scope);
        self.claims.push(claims);
    }

    /// Sets the actors of the request to those that the claims name, the current one first.
    pub(super) fn set_actors(&self, _request: &mut EvaluateRequest) -> Result<(), Error> {
        #[cfg(feature = "ati")]
        for (place, claims) in self.claims.iter().enumerate() {
            let actors = claims.actors()?;
            if place > 0 && actors != _request.actors {
                return Err(Error::invalid(
                    "the claims of one request name different actors: take all from one token",
                ));
            }
            _request.actors = actors;
        }
        Ok(())
    }

    /// Refuses unless the claims belong to the agent and grant all scopes.
    pub(super) fn check_claims(&self, _request: &EvaluateRequest) -> Result<(), Error> {
        #[cfg(feature = "ati")]
        for claims in &self.claims {
            claims.require(_request)?;
        }
        Ok(())
    }

    /// Refuses if a token of the request has expired while the request waited.
    pub(super) fn check_expiry(&self, _request: &EvaluateRequest) -> Result<(), Error> {
        #[cfg(feature = "ati")]
        for claims in &self.claims {
            claims.require_current(_request)?;
        }
        Ok(())
    }
}
