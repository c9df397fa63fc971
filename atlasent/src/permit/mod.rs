//! The permit: the only key that opens a protected body.
//!
//! A [`Permit`] is made in one place, `Permit::mint`, which is private to the crate and
//! called only by `protect.rs` after an allow was verified. Everything here keeps it that way: no
//! public field, no public constructor, no `Clone`, `Copy`, `Default` or `Deserialize`.

mod checks;
mod execution;
pub(crate) mod expiry;
mod guarded;
mod record;

pub use execution::Execution;
pub use guarded::{Guarded, Opened};
pub use record::PermitRecord;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::authority::IssuerId;
use crate::permit::expiry::Expiry;
use crate::{Action, Agent, AnyAction};

/// Proof that `A` was allowed, verified and consumed, for one execution.
///
/// A function that takes one cannot be called without one, and reads the authorized values from it:
/// the permit owns the action that was decided on, and derefs to it.
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
///     println!("{} because {}", permit.patient_id, permit.change_reason);
/// }
/// ```
///
/// It cannot be copied, so it is spent by the function that takes it by value:
///
/// ```compile_fail,E0382
/// fn deploy(permit: atlasent::Permit) {}
///
/// fn twice(permit: atlasent::Permit) {
///     deploy(permit);
///     deploy(permit);
/// }
/// ```
///
/// # What it means later
///
/// A permit says that its action was allowed, and that the permit was used up, at the moment of its
/// [`timestamp`](Self::timestamp). It is meant to be used at once. What is certain afterwards:
///
/// - **The values.** The permit owns its action, and the action was compared with what was decided
///   on when the permit was made. Values behind an `Arc`, an atomic or a lock can still change
///   after that: give actions plain values.
/// - **The time.** [`Guarded`] and the extractor `TakePermit` refuse a permit whose
///   [`expires_at`](Self::expires_at) has passed. A body that starts late, from a queue or a
///   spawned task, asks [`require_active`](Self::require_active) first.
/// - **The world.** Whether the authority still stands by it, only the authority knows:
///   [`recheck`](Self::recheck) asks.
/// - **The authority.** Any type can implement [`Authority`](crate::Authority) and say yes.
///   [`granted_by`](Self::granted_by) tells the permits of one from those of another; a `Guarded`
///   checks it, and [`require_granted_by`](Self::require_granted_by) is for functions that do not
///   use one.
#[must_use = "a permit is for the action that it names: run it, or do not ask"]
pub struct Permit<A = AnyAction> {
    action: A,
    // Shared with the execution's closing event, and in a box of its own so that a permit never has
    // the layout of its record.
    record: Arc<PermitRecord>,
    expiry: Expiry,
    granted_by: Option<IssuerId>,
    // Invariant: a permit for `Act<for<'a> fn(&'a u8)>` must not turn into one for
    // `Act<fn(&'static u8)>`. Both are action types of their own, and subtyping would convert one's
    // permit into the other's.
    invariant: PhantomData<fn(A) -> A>,
}

impl<A: Action> Permit<A> {
    /// The only constructor. `protect.rs` calls it once, after `evaluate` and `verify` have both
    /// said yes.
    pub(crate) fn mint(action: A, record: PermitRecord, granted_by: Option<IssuerId>) -> Self {
        Self {
            action,
            expiry: Expiry::new(record.expires_at.as_deref(), record.timestamp.as_deref()),
            record: Arc::new(record),
            granted_by,
            invariant: PhantomData,
        }
    }

    /// The permit's id: the public one (`pt_…`) where the authority sends it, else the token, which
    /// is used up.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The hash under which audit trails know the permit.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.record.hash.as_deref()
    }

    /// The hash of the audit event that recorded the allow.
    #[must_use]
    pub fn audit_hash(&self) -> Option<&str> {
        self.record.audit_hash.as_deref()
    }

    /// Why it was allowed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.record.reason.as_deref()
    }

    /// When it was verified (ISO 8601).
    #[must_use]
    pub fn timestamp(&self) -> Option<&str> {
        self.record.timestamp.as_deref()
    }

    /// When it expires (ISO 8601), by the authority's clock. See [`is_active`](Self::is_active).
    #[must_use]
    pub fn expires_at(&self) -> Option<&str> {
        self.record.expires_at.as_deref()
    }

    /// Who may execute the action.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.record.agent
    }

    /// The action that was authorized.
    pub fn action(&self) -> &A {
        &self.action
    }

    /// Spends the permit for the action that was authorized.
    #[must_use]
    pub fn into_action(self) -> A {
        self.action
    }

    /// Starts the execution of the action, as far as traces are concerned: see [`Execution`]. For
    /// middleware, which hands the permit on to what runs; `#[protect]` and `with_permit` do it by
    /// themselves.
    pub fn execution(&self) -> Execution {
        Execution::new(Arc::clone(&self.record))
    }

    /// What logs and databases keep. It can never be turned back into a permit.
    #[must_use]
    pub fn record(&self) -> PermitRecord {
        PermitRecord::clone(&self.record)
    }
}

impl<A> Permit<A> {
    /// What `checks.rs` decides on.
    pub(crate) fn facts(&self) -> (&PermitRecord, Expiry, Option<IssuerId>) {
        (&self.record, self.expiry, self.granted_by)
    }
}

impl<A> Deref for Permit<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.action
    }
}

/// Prints the record, redacted, and not the action, whose fields may be anything.
impl<A> fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt_as("Permit", f)
    }
}
