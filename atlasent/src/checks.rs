//! Checks of a permit that was verified and is used later: which authority granted it, whether its
//! time has passed, and whether that authority still stands by it.

use crate::expiry::Expiry;
use crate::permit::PermitRecord;
use crate::{Authority, Denied, Error, IssuerId, Permit, PermitOutcome, PermitStatus};

/// The code of a refusal because another authority granted the permit.
const OTHER_ISSUER: &str = "PERMIT_OF_ANOTHER_AUTHORITY";

impl<A> Permit<A> {
    /// Names the authority that granted the permit, where that authority has an
    /// [`issuer`](Authority::issuer).
    ///
    /// No other authority's answer can carry this name: see [`Issuer`](crate::Issuer).
    #[must_use]
    pub fn granted_by(&self) -> Option<IssuerId> {
        self.facts().2
    }

    /// Refuses unless `authority` granted the permit. For functions that take a permit and do not
    /// use it on a [`Guarded`](crate::Guarded), which checks by itself.
    ///
    /// ```
    /// use atlasent::{AnyAction, AuthorityExt, testing::MockAuthority};
    ///
    /// # futures_executor::block_on(async {
    /// let ours = MockAuthority::new().allow("deploy");
    /// let another = MockAuthority::new().allow("deploy");
    /// let permit = another.protect("deploy-bot", AnyAction::new("deploy")?).await?;
    /// assert!(permit.require_granted_by(&ours).is_err());
    /// assert!(permit.require_granted_by(&another).is_ok());
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when another authority did, or one without an issuer. [`Error::Config`]
    /// when `authority` has no issuer to compare with.
    pub fn require_granted_by<P: Authority + ?Sized>(&self, authority: &P) -> Result<(), Error> {
        self.require_issuer(issuer_of(authority)?)
    }

    /// [`require_granted_by`](Self::require_granted_by), for code that keeps the issuer and not the
    /// authority.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when the permit has another issuer, or none.
    pub fn require_issuer(&self, issuer: IssuerId) -> Result<(), Error> {
        let (record, _, granted_by) = self.facts();
        if granted_by == Some(issuer) {
            return Ok(());
        }
        let why =
            "the permit was granted by another authority than the one whose permits count here";
        Err(refuse(record, why.to_owned(), OTHER_ISSUER, None))
    }

    /// Returns whether the permit's time has not passed yet.
    ///
    /// The time runs from the verification for as long as the authority said, by this machine's
    /// clocks: clocks that differ do no harm. A permit whose authority named no time is always
    /// active. One whose [`expires_at`](Self::expires_at) cannot be read as a time (ISO 8601) is
    /// never.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.facts().1.is_over()
    }

    /// Refuses a permit that is not [active](Self::is_active) any more. For bodies that start late.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] with [`PermitOutcome::Expired`].
    pub fn require_active(&self) -> Result<(), Error> {
        if self.is_active() {
            return Ok(());
        }
        let (record, expiry, _) = self.facts();
        let expires_at = record.expires_at.as_deref().unwrap_or_default();
        let why = match expiry {
            Expiry::Unreadable => {
                format!("the permit's expiry {expires_at:?} is not an ISO 8601 time")
            }
            _ => format!("the permit expired before it was used (it was good until {expires_at})"),
        };
        let outcome = PermitOutcome::Expired;
        Err(refuse(record, why, outcome.error_code(), Some(outcome)))
    }

    /// Asks the authority that granted the permit whether it still stands by it. For bodies that
    /// start late or take long; it consumes nothing.
    ///
    /// ```
    /// use atlasent::{Authority, Error, Permit};
    ///
    /// async fn from_the_queue(authority: &impl Authority, permit: Permit) -> Result<(), Error> {
    ///     permit.recheck(authority).await?;
    ///     println!("{} runs now", permit.into_action().name());
    ///     Ok(())
    /// }
    /// # use atlasent::Action;
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when the permit is not active, was granted by another authority, or is not
    /// what the authority has as verified any more. Another [`Error`] when there was no usable
    /// answer; [`Error::Config`] when the authority [cannot tell](Authority::permit_status).
    pub async fn recheck<P: Authority + ?Sized>(&self, authority: &P) -> Result<(), Error> {
        self.require_active()?;
        self.require_granted_by(authority)?;
        let (record, ..) = self.facts();
        let status = authority.permit_status(record).await?;
        let outcome = match &status {
            PermitStatus::Verified | PermitStatus::Consumed => return Ok(()),
            PermitStatus::Expired => PermitOutcome::Expired,
            PermitStatus::Revoked => PermitOutcome::Revoked,
            PermitStatus::Issued | PermitStatus::Unknown(_) => PermitOutcome::NotFound,
        };
        let why = format!("the permit was verified, and its authority has it as `{status}` now");
        Err(refuse(record, why, outcome.error_code(), Some(outcome)))
    }
}

/// Names the issuer of an authority, for code that needs one.
///
/// # Errors
///
/// [`Error::Config`] when it has none, with what to do about it.
pub fn issuer_of<P: Authority + ?Sized>(authority: &P) -> Result<IssuerId, Error> {
    authority.issuer().ok_or_else(|| {
        Error::config(
            "this authority has no issuer, so its permits look like any other's: \
             wrap it in `WithIssuer::new(authority)`, or implement `Authority::issuer`",
        )
    })
}

fn refuse(
    record: &PermitRecord,
    reason: String,
    code: &str,
    outcome: Option<PermitOutcome>,
) -> Error {
    Denied {
        code: Some(code.to_owned()),
        audit_hash: record.audit_hash.clone(),
        outcome,
        ..Denied::new(record.action.clone(), record.agent.clone(), reason)
    }
    .into()
}
