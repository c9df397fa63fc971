//! The process's default authority.

use std::sync::{Arc, OnceLock};

use crate::{Authority, DynAuthority, Error};

static DEFAULT: OnceLock<Arc<dyn DynAuthority>> = OnceLock::new();

/// Installs the authority that is asked where none is named.
///
/// Call it once, at start-up. The first one stays: a dependency that could replace it later could also open
/// every protected function.
///
/// # Errors
///
/// [`Error::Config`] when a default is installed already.
pub fn configure(authority: impl Authority + 'static) -> Result<(), Error> {
    DEFAULT.set(Arc::new(authority)).map_err(|_| {
        Error::Config(
            "a default authority is installed already: call `configure` once, at start-up"
                .to_owned(),
        )
    })
}

/// The default authority.
///
/// # Errors
///
/// [`Error::Config`] when none is installed: an unconfigured program is refused, never allowed.
pub fn default_authority() -> Result<&'static Arc<dyn DynAuthority>, Error> {
    DEFAULT.get().ok_or_else(|| {
        Error::Config(
            "there is no default authority: call `atlasent::configure` at start-up, \
             or name one with `authority = …`"
                .to_owned(),
        )
    })
}
