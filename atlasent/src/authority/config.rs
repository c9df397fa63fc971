//! The process's default authority.
//!
//! It is set once, and what is set first stays. With the feature `testing`, the first scope of a
//! test takes the place of the default, so a process has either a default or scopes:
//!
//! ```text
//!            configure(P), or a default from the environment
//! (nothing) ───────────────────────────────────────────────► Installed(P)   scopes are refused
//!     │      first `testing::with_authority`
//!     └────────────────────────────────────────────────────► TestScopes     `configure` is refused
//! ```

use std::sync::{Arc, OnceLock};

use crate::authority::{DynAuthority, IssuerId, WithIssuer};
#[cfg(feature = "testing")]
use crate::testing::scoped_authority;
use crate::{Authority, Error};

static DEFAULT: OnceLock<ProcessDefault> = OnceLock::new();

/// Where a process takes its default authority from, once that is settled.
enum ProcessDefault {
    Installed(Arc<dyn DynAuthority>),
    /// From the scope that a call is in. Nothing is installed, and nothing ever will be.
    #[cfg(feature = "testing")]
    TestScopes,
}

/// Installs the authority that is asked where none is named.
///
/// Call it once, at start-up, and stop the program when it fails. The first authority stays: a
/// dependency that could replace it later could also open every protected function. An authority
/// without an [`issuer`](Authority::issuer) gets one, so that a [`Guarded`](crate::Guarded) can
/// tell the permits of the default from those of any other authority.
///
/// # Errors
///
/// [`Error::Config`] when a default is installed already, was taken from the environment because it
/// was needed, or when `testing::with_authority` was used in this process.
pub fn configure(authority: impl Authority + 'static) -> Result<(), Error> {
    let authority = with_issuer(authority);
    DEFAULT.set(ProcessDefault::Installed(authority)).map_err(|_| {
        Error::config(match DEFAULT.get() {
            #[cfg(feature = "testing")]
            Some(ProcessDefault::TestScopes) => {
                "an authority cannot be configured after `atlasent::testing::with_authority` was \
                 used in this process: test what calls `configure` in a process of its own"
            }
            _ => {
                "an authority was already configured, or taken from the environment: call \
                 `configure` once, at start-up, before the first protected call"
            }
        })
    })
}

/// Returns the default authority.
///
/// Where none is installed, it is a client of the AtlaSent API with the key in `ATLASENT_API_KEY`
/// (feature `client`), made when it is first needed. In the scope of a test it is the authority of
/// that scope: see `testing::with_authority`.
///
/// # Errors
///
/// [`Error::Config`] when there is neither: an unconfigured program is refused, never allowed.
pub fn default_authority() -> Result<Arc<dyn DynAuthority>, Error> {
    #[cfg(feature = "testing")]
    if let Some(scoped) = scoped_authority() {
        return match DEFAULT.get() {
            Some(ProcessDefault::TestScopes) => Ok(scoped),
            _ => Err(Error::config(
                "this process has a default authority, so the one of \
                 `atlasent::testing::with_authority` does not count: test with scopes in a process \
                 that configures no authority",
            )),
        };
    }
    let default = match DEFAULT.get() {
        Some(default) => default,
        None => {
            let found = from_env()?;
            DEFAULT.get_or_init(|| ProcessDefault::Installed(found))
        }
    };
    match default {
        ProcessDefault::Installed(authority) => Ok(Arc::clone(authority)),
        #[cfg(feature = "testing")]
        ProcessDefault::TestScopes => Err(Error::config(
            "this call is outside of the scope of `atlasent::testing::with_authority`: a spawned \
             task or thread does not inherit it, so wrap what is spawned, too",
        )),
    }
}

/// Names the issuer of the permits that count as the default authority's, if there is a default. A
/// permit of the default exists only then, so none is made for the question.
///
/// An installed authority goes first: no scope replaces it.
pub(crate) fn default_issuer() -> Option<IssuerId> {
    match DEFAULT.get()? {
        ProcessDefault::Installed(authority) => authority.issuer(),
        #[cfg(feature = "testing")]
        ProcessDefault::TestScopes => scoped_authority()?.issuer(),
    }
}

/// Settles that this process takes its default from the scopes of tests, unless a default is
/// installed.
#[cfg(feature = "testing")]
pub(crate) fn enter_test_scopes() {
    // An installed default stays, and `default_authority` then refuses.
    let _ = DEFAULT.set(ProcessDefault::TestScopes);
}

/// Shares an authority, with an issuer of ours if it has none of its own.
pub(crate) fn with_issuer(authority: impl Authority + 'static) -> Arc<dyn DynAuthority> {
    match authority.issuer() {
        Some(_) => Arc::new(authority),
        None => Arc::new(WithIssuer::new(authority)),
    }
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
