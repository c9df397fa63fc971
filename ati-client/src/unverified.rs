//! The claims of a token that has not been verified.

use std::ops::Deref;

use crate::Error;
use crate::claims_set::ClaimsSet;
use crate::jws::Compact;

/// The claims of a token that has not been verified: anyone can have written them.
///
/// Use them for display only. No function that grants access accepts `Unverified`, and it cannot be
/// converted into [`Claims`](crate::Claims).
///
/// ```
/// use ati_client::{Claims, SigningKey, inspect, issue};
///
/// # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// # let token = issue(&Claims::builder("agent-7").scope("help").build()?, &key)?;
/// let unverified = inspect(&token)?;
/// println!("{} says it may use {}", unverified.sub(), unverified.scope());
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    algorithm: String,
    claims: ClaimsSet,
}

impl Unverified {
    /// Returns the algorithm that the token names, supported or not.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Returns the claim `scope`, unchanged.
    #[must_use]
    pub fn scope(&self) -> &str {
        self.claims.registered().scope.as_str()
    }
}

impl Deref for Unverified {
    type Target = ClaimsSet;

    fn deref(&self) -> &ClaimsSet {
        &self.claims
    }
}

/// Reads a token without verifying it: signature, times, audience and issuer are not checked.
///
/// # Errors
///
/// [`Error::TooLong`], [`Error::Malformed`], [`Error::MissingClaim`], [`Error::WrongType`] or
/// [`Error::UnknownVersion`] if the claims cannot be read.
pub fn inspect(token: &str) -> Result<Unverified, Error> {
    let token = Compact::new(token)?;
    Ok(Unverified {
        algorithm: token.header()?.algorithm.into_owned(),
        claims: ClaimsSet::read(token.payload()?)?,
    })
}
