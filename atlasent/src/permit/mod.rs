//! The permit, without which no protected body runs, and what can be done with one.
//!
//! - [`Permit`]: the proof that an action was allowed, for one execution.
//! - [`PermitRecord`]: the data of a permit, for logs and databases. It opens nothing. Its id is a
//!   [`PermitId`].
//! - [`Execution`]: a protected body on its way; it emits one closing event to `tracing`, and sends
//!   the receipt.
//! - [`Guarded`] and [`Opened`]: a value that is reachable only with a permit.
//!
//! `#[protect]`, the methods of [`AuthorityExt`](crate::AuthorityExt), the layers and the
//! extractors return permits. The one constructor is private to this crate and runs only after an
//! allow was verified. A permit therefore has no public field and implements none of `Clone`,
//! `Copy`, `Default` and `Deserialize`.

mod checks;
mod execution;
pub(crate) mod expiry;
mod guarded;
mod id;
mod record;

pub use execution::Execution;
pub use guarded::{Guarded, Opened};
pub use id::PermitId;
pub use record::PermitRecord;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::authority::IssuerId;
use crate::permit::expiry::Expiry;
use crate::receipts::{DeferredReceipt, PendingReceipt};
use crate::wire::{ApprovalRecord, BudgetState};
use crate::{Action, Agent, AnyAction};

/// Proof that `A` was allowed, verified and consumed, for one execution.
///
/// A function that takes a permit cannot be called without one. The permit owns the action that the
/// authority decided on, and derefs to it.
///
/// ```
/// use atlasent::{Action, Permit};
///
/// #[derive(Action)]
/// #[action("modify_patient_record")]
/// struct ModifyPatientRecord {
///     #[action(resource)]
///     patient_id: String,
///     change_reason: String,
/// }
///
/// fn modify(permit: Permit<ModifyPatientRecord>) {
///     let ModifyPatientRecord { patient_id, change_reason } = permit.into_action();
///     println!("{patient_id} because {change_reason}");
/// }
/// ```
///
/// A permit cannot be copied, so the function that takes it by value uses it up:
///
/// ```compile_fail,E0382
/// fn deploy(permit: atlasent::Permit) {
///     drop(permit.into_action());
/// }
///
/// fn twice(permit: atlasent::Permit) {
///     deploy(permit);
///     deploy(permit);
/// }
/// ```
///
/// # Using a permit later
///
/// A permit states that its action was allowed and that the permit was consumed at its
/// [`timestamp`](Self::timestamp). Use it at once. For later use:
///
/// - **Values.** The permit owns its action. Its values were compared with the request when the
///   permit was made. A value behind an `Arc`, an atomic or a lock can still change: give actions
///   plain values.
/// - **Time.** [`Guarded`] and the extractor `TakePermit` refuse a permit whose
///   [`expires_at`](Self::expires_at) has passed. A body that starts late, from a queue or a
///   spawned task, calls [`require_active`](Self::require_active) first.
/// - **Revocation.** [`recheck`](Self::recheck) asks the authority whether the permit was revoked.
/// - **Authority.** Any type can implement [`Authority`](crate::Authority) and allow everything.
///   [`granted_by`](Self::granted_by) names the authority that granted the permit. `Guarded` checks
///   it; functions without one call [`require_granted_by`](Self::require_granted_by).
#[must_use = "a permit allows one action: run the action, or do not ask for the permit"]
pub struct Permit<A = AnyAction> {
    action: A,
    // Shared with the execution's closing event. Allocated separately, so that a permit never has
    // the layout of its record.
    record: Arc<PermitRecord>,
    /// Unset where the authority takes no receipts.
    receipt: Option<Arc<PendingReceipt>>,
    expiry: Expiry,
    granted_by: Option<IssuerId>,
    // Invariant: a permit for `Act<for<'a> fn(&'a u8)>` must not turn into one for
    // `Act<fn(&'static u8)>`. Both are action types of their own, and subtyping would convert one's
    // permit into the other's.
    invariant: PhantomData<fn(A) -> A>,
}

impl<A: Action> Permit<A> {
    /// Makes a permit. This is the only constructor, and `protect::obtain` its only caller, after
    /// `evaluate` allowed and `verify` confirmed.
    pub(crate) fn mint(
        action: A,
        record: PermitRecord,
        granted_by: Option<IssuerId>,
        receipt: Option<PendingReceipt>,
    ) -> Self {
        Self {
            action,
            expiry: Expiry::new(record.expires_at.as_deref(), record.timestamp.as_deref()),
            record: Arc::new(record),
            receipt: receipt.map(Arc::new),
            granted_by,
            invariant: PhantomData,
        }
    }

    /// Returns the permit's id: the public id (`pt_…`), which opens nothing.
    ///
    /// Older services send no public id. Their permits have the permit token as id, which was used
    /// up before the permit was made.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Returns the hash that identifies the permit in audit trails.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.record.hash.as_deref()
    }

    /// Returns the hash of the audit event that recorded the allow.
    #[must_use]
    pub fn audit_hash(&self) -> Option<&str> {
        self.record.audit_hash.as_deref()
    }

    /// Returns the authority's reason for the allow.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.record.reason.as_deref()
    }

    /// Returns the time of the verification (ISO 8601), by the authority's clock.
    #[must_use]
    pub fn timestamp(&self) -> Option<&str> {
        self.record.timestamp.as_deref()
    }

    /// Returns the time of expiry (ISO 8601), by the authority's clock. See
    /// [`is_active`](Self::is_active).
    #[must_use]
    pub fn expires_at(&self) -> Option<&str> {
        self.record.expires_at.as_deref()
    }

    /// Returns what is left of the budgets that the permit took its amount from, when it was
    /// issued. It is empty if the policies that granted the permit have none.
    #[must_use]
    pub fn budgets(&self) -> &[BudgetState] {
        &self.record.budgets
    }

    /// Returns the approvals that the permit was granted on, from the answer to its verification.
    /// It is empty if no person had to approve, or the authority does not say.
    #[must_use]
    pub fn approvals(&self) -> &[ApprovalRecord] {
        &self.record.approvals
    }

    /// Returns the agent that may execute the action.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.record.agent
    }

    /// Returns the action that was authorized.
    pub fn action(&self) -> &A {
        &self.action
    }

    /// Uses the permit up and returns the action that was authorized.
    #[must_use]
    pub fn into_action(self) -> A {
        self.action
    }

    /// Starts the action's execution, which is traced and, where the authority takes receipts,
    /// recorded when it ends; see [`Execution`].
    ///
    /// `#[protect]` and `with_permit` call this by themselves. Middleware that hands the permit to
    /// another service calls it, and so does code that obtains a permit with `protect` and wants a
    /// receipt. The first execution of a permit sends the receipt; later ones are only traced.
    pub fn execution(&self) -> Execution {
        let unclaimed = self.receipt.as_ref().filter(|receipt| receipt.claim());
        Execution::new(Arc::clone(&self.record), unclaimed.map(Arc::clone))
    }

    /// Takes over the receipt of a body that ends in another process. Returns `None` where the
    /// authority takes no receipts, or an [execution](Self::execution) has claimed the receipt. No
    /// execution of this permit sends a receipt from then on.
    #[must_use]
    pub fn defer_receipt(&self) -> Option<DeferredReceipt> {
        let receipt = self.receipt.as_ref().filter(|receipt| receipt.claim())?;
        Some(receipt.deferred(&self.record))
    }

    /// Returns the record that the permit shares with its execution.
    pub(crate) fn shared_record(&self) -> &PermitRecord {
        &self.record
    }

    /// Returns the permit's data for logs and databases. A record cannot become a permit again.
    #[must_use]
    pub fn record(&self) -> PermitRecord {
        PermitRecord::clone(&self.record)
    }
}

impl<A> Permit<A> {
    /// Returns the permit with another value for the same action. `protect::handed` is the only
    /// caller: it compares the requests that both values make.
    pub(crate) fn with_action<B>(self, action: B) -> Permit<B> {
        Permit {
            action,
            record: self.record,
            receipt: self.receipt,
            expiry: self.expiry,
            granted_by: self.granted_by,
            invariant: PhantomData,
        }
    }
}

impl<A> Deref for Permit<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.action
    }
}

/// Prints the redacted record and omits the action, whose fields may hold secrets.
impl<A> fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt_as("Permit", f)
    }
}
