//! The optional fields and required scopes of a request, and how long it waits for approvers.

use std::time::Duration;

use crate::Error;
use crate::wire::{EvaluateRequest, RequestOptions};

/// The optional fields of a request, the scopes that are checked before the authority is asked, and
/// how long a held request waits for approvers.
#[derive(Debug, Default)]
pub struct Conditions {
    // Boxed, since few requests set options and every future on the path carries this value.
    options: Option<Box<RequestOptions>>,
    wait: Option<Duration>,
    #[cfg(feature = "ati")]
    scopes: Vec<crate::scope::RequiredScope>,
}

impl Conditions {
    pub(crate) fn set_options(&mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) {
        let options = self.take_options().unwrap_or_default();
        self.options = Some(Box::new(set(*options)));
    }

    /// Takes the optional fields out, if any were set.
    pub(super) fn take_options(&mut self) -> Option<Box<RequestOptions>> {
        self.options.take()
    }

    /// Sets how long a held request waits for approvers.
    pub(crate) fn set_wait(&mut self, at_most: Duration) {
        self.wait = Some(at_most);
    }

    /// Returns how long a held request waits for approvers. `None` if it does not wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Adds a required scope.
    #[cfg(feature = "ati")]
    pub(crate) fn require_scope(&mut self, required: &str, claims: &ati_client::Claims) {
        let scope = crate::scope::RequiredScope::new(required, claims);
        self.scopes.push(scope);
    }

    /// Refuses unless all scopes are granted.
    pub(super) fn check_scopes(&self, _request: &EvaluateRequest) -> Result<(), Error> {
        #[cfg(feature = "ati")]
        for scope in &self.scopes {
            scope.require(_request)?;
        }
        Ok(())
    }
}
