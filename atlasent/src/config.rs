//! The process's default authority.

use std::sync::{Arc, OnceLock};

use crate::{Authority, DynAuthority, Error, IssuerId, WithIssuer};

static DEFAULT: OnceLock<Arc<dyn DynAuthority>> = OnceLock::new();

/// Installs the authority that is asked where none is named.
///
/// Call it once, at start-up. The first one stays: a dependency that could replace it later could
/// also open every protected function. An authority without an [`issuer`](Authority::issuer) gets
/// one, so that a [`Guarded`](crate::Guarded) can tell the permits of the default from those of any
/// other authority.
///
/// # Errors
///
/// [`Error::Config`] when a default is installed already, or was taken from the environment because
/// it was needed.
pub fn configure(authority: impl Authority + 'static) -> Result<(), Error> {
    let authority: Arc<dyn DynAuthority> = match authority.issuer() {
        Some(_) => Arc::new(authority),
        None => Arc::new(WithIssuer::new(authority)),
    };
    DEFAULT.set(authority).map_err(|_| {
        Error::config(
            "an authority was already configured, or taken from the environment: call `configure` \
             once, at start-up, before the first protected call",
        )
    })
}

/// The default authority.
///
/// Where none is installed, it is a client of the AtlaSent API with the key in `ATLASENT_API_KEY`
/// (feature `client`), made when it is first needed.
///
/// # Errors
///
/// [`Error::Config`] when there is neither: an unconfigured program is refused, never allowed.
pub fn default_authority() -> Result<&'static Arc<dyn DynAuthority>, Error> {
    if let Some(installed) = DEFAULT.get() {
        return Ok(installed);
    }
    let found = from_env()?;
    Ok(DEFAULT.get_or_init(|| found))
}

/// Names the issuer of the default authority's permits, if a default is installed. A permit of the
/// default exists only then, so none is made for the question.
pub(crate) fn default_issuer() -> Option<IssuerId> {
    DEFAULT.get().and_then(Authority::issuer)
}

#[cfg(feature = "client")]
fn from_env() -> Result<Arc<dyn DynAuthority>, Error> {
    let client = crate::Client::from_env().map_err(|error| match error {
        Error::Config(error) => error
            .map_message(|message| {
                format!(
                    "there is no default authority: call `atlasent::configure` at start-up, name \
                     one with `authority = …`, or use the environment, where {message}"
                )
            })
            .into(),
        other => other,
    })?;
    Ok(Arc::new(client))
}

#[cfg(not(feature = "client"))]
fn from_env() -> Result<Arc<dyn DynAuthority>, Error> {
    Err(Error::config(
        "there is no default authority: call `atlasent::configure` at start-up, \
         or name one with `authority = …`",
    ))
}
