//! The optional fields and required scopes of a request.

use crate::Error;
use crate::wire::{EvaluateRequest, RequestOptions};

/// The optional fields of a request, and the scopes that are checked before the authority is asked.
#[derive(Debug, Default)]
pub struct Conditions {
    // Boxed, since few requests set options and every future on the path carries this value.
    options: Option<Box<RequestOptions>>,
    #[cfg(feature = "ati")]
    scopes: Vec<crate::scope::RequiredScope>,
}

impl Conditions {
    pub(crate) fn set_options(&mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) {
        let options = self.take_options().unwrap_or_default();
        self.options = Some(Box::new(set(options)));
    }

    /// Takes the optional fields out, if any were set.
    pub(super) fn take_options(&mut self) -> Option<RequestOptions> {
        self.options.take().map(|options| *options)
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
