//! Checks of a permit that is used some time after its verification: the authority that granted it,
//! its expiry, and its status in the authority's ledger.

use crate::authority::IssuerId;
use crate::authority::issuer_of;
use crate::error::PermitOutcome;
use crate::permit::PermitRecord;
use crate::permit::expiry::Expiry;
use crate::wire::PermitStatus;
use crate::{Authority, Denied, Error, Permit};

/// The code of a refusal of a permit that another authority granted.
const OTHER_ISSUER: &str = "PERMIT_OF_ANOTHER_AUTHORITY";
/// The code of a refusal of a permit for another action.
const OTHER_ACTION: &str = "PERMIT_FOR_ANOTHER_ACTION";

impl<A> Permit<A> {
    /// Returns the issuer of the authority that granted the permit, if that authority has an
    /// [`issuer`](Authority::issuer).
    ///
    /// Answers of other authorities cannot carry this id: see
    /// [`Issuer`](crate::authority::Issuer).
    #[must_use]
    pub fn granted_by(&self) -> Option<IssuerId> {
        self.granted_by
    }

    /// Refuses a permit that another authority granted.
    ///
    /// [`Guarded`](crate::Guarded) checks this by itself; a function that takes a permit without
    /// one calls it first.
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
    /// [`Error::Denied`] when another authority, or an authority without an issuer, granted the
    /// permit. [`Error::Config`] when `authority` has no issuer to compare with.
    pub fn require_granted_by<P: Authority + ?Sized>(&self, authority: &P) -> Result<(), Error> {
        self.require_issuer(issuer_of(authority)?)
    }

    /// Refuses a permit of another issuer: [`require_granted_by`](Self::require_granted_by) for
    /// code that holds the issuer's id instead of the authority.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when the permit has another issuer or no issuer.
    pub fn require_issuer(&self, issuer: IssuerId) -> Result<(), Error> {
        if self.granted_by == Some(issuer) {
            return Ok(());
        }
        let why = "another authority granted the permit: ask the authority that this code accepts";
        Err(refuse(&self.record, why.to_owned(), OTHER_ISSUER, None))
    }

    /// Refuses a permit for another action. It compares the name that the authority verified. Code
    /// that takes permits of any type, and serves only some actions, calls this.
    ///
    /// ```
    /// use atlasent::{AnyAction, AuthorityExt, testing::MockAuthority};
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new().allow("deploy");
    /// let permit = authority.protect("deploy-bot", AnyAction::new("deploy")?).await?;
    /// assert!(permit.require_action("deploy").is_ok());
    /// assert!(permit.require_action("delete").is_err());
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when the permit is for another action.
    pub fn require_action(&self, name: &str) -> Result<(), Error> {
        if self.record.action == name {
            return Ok(());
        }
        let why = format!("the permit is for another action: ask for one for `{name}`");
        Err(refuse(&self.record, why, OTHER_ACTION, None))
    }

    /// Returns whether the permit has not expired.
    ///
    /// The lifetime that the authority granted counts from the verification, by the clocks of this
    /// machine, so differing clocks do no harm. A permit without [`expires_at`](Self::expires_at)
    /// is always active. A permit whose `expires_at` is not an ISO 8601 time is never active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.expiry.is_over()
    }

    /// Refuses a permit that is no longer [active](Self::is_active). For bodies that start late.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] with [`PermitOutcome::Expired`].
    pub fn require_active(&self) -> Result<(), Error> {
        if self.is_active() {
            return Ok(());
        }
        let record = &self.record;
        let expires_at = record.expires_at.as_deref().unwrap_or_default();
        let why = match self.expiry {
            Expiry::Unreadable => {
                format!("the permit's expiry {expires_at:?} is not an ISO 8601 time")
            }
            _ => {
                format!("the permit expired at {expires_at}, before it was used: ask for a new one")
            }
        };
        let outcome = PermitOutcome::Expired;
        Err(refuse(record, why, outcome.error_code(), Some(outcome)))
    }

    /// Asks the authority that granted the permit whether the permit was revoked or expired. For
    /// bodies that start late or run long. The call consumes nothing.
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
    /// [`Error::Denied`] when the permit is not active, another authority granted it, or the
    /// authority no longer lists it as verified. [`Error::Config`] when the authority
    /// [cannot look up permits](Authority::permit_status). Another [`Error`] when the authority
    /// gave no usable answer.
    pub async fn recheck<P: Authority + ?Sized>(&self, authority: &P) -> Result<(), Error> {
        self.require_active()?;
        self.require_granted_by(authority)?;
        let record = &self.record;
        let status = authority.permit_status(record).await?;
        let outcome = match &status {
            PermitStatus::Verified | PermitStatus::Consumed => return Ok(()),
            PermitStatus::Expired => PermitOutcome::Expired,
            PermitStatus::Revoked => PermitOutcome::Revoked,
            PermitStatus::Issued | PermitStatus::Unknown(_) => PermitOutcome::NotFound,
        };
        let why =
            format!("the permit was verified, but its status is `{status}` now: ask for a new one");
        Err(refuse(record, why, outcome.error_code(), Some(outcome)))
    }
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
        ..Denied::new(record.action.to_string(), record.agent.clone(), reason)
    }
    .into()
}
