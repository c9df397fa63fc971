//! The claims of a token that was not verified.

use std::ops::Deref;

use crate::Error;
use crate::claims_set::ClaimsSet;
use crate::jws::Compact;

/// The claims of a token that was not verified: anyone can have written it.
///
/// It is for looking at. Nothing that grants anything takes it, and it cannot be turned into
/// [`Claims`](crate::Claims).
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
    /// The algorithm that the token names, which may be any.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The scopes that the token names, as they stand there.
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

/// Reads a token without verifying it: no key, no signature, no time, no audience.
///
/// # Errors
///
/// [`Error::TooLong`], [`Error::Malformed`], [`Error::MissingClaim`] or [`Error::WrongType`] if
/// there is nothing to show.
pub fn inspect(token: &str) -> Result<Unverified, Error> {
    let token = Compact::new(token)?;
    Ok(Unverified {
        algorithm: token.header()?.algorithm.into_owned(),
        claims: ClaimsSet::read(token.payload()?)?,
    })
}
