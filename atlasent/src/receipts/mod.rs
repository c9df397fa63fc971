//! Delivers the receipts of bodies to the authority that granted their permits.
//!
//! A [`Receipt`] tells how the body of a permit ended. Bodies end in places that cannot wait: a
//! future is dropped because its client disconnected, or a panic unwinds. So the end of a body
//! hands its receipt to the [`ReceiptQueue`] of the authority, and returns at once. The queue
//! delivers the receipt in the background.
//!
//! ```text
//! LocalAuthority, Client       owns a queue, in its Issuer
//!       │ verify: the mark of the answer carries the queue (authority/issuer.rs)
//!       ▼
//! Permit ──► Execution         the body runs
//!                │ it returned, failed, panicked, or was dropped
//!                ▼
//!          ReceiptQueue        bounded; never blocks, never panics
//!                ├─ at once: polls the delivery once on this thread   (LocalAuthority)
//!                └─ the rest: a task of the runtime of `blocking`     (Client; a store that waits)
//! ```
//!
//! A receipt therefore goes to the authority that granted the permit, whatever authority passed the
//! answer on. A receipt that cannot be delivered is logged and [counted](ReceiptQueue::counts). It
//! never changes the result of the body.

mod deferred;
mod pending;
mod queue;

pub use deferred::DeferredReceipt;
pub use queue::{ReceiptCounts, ReceiptQueue};

pub(crate) use pending::PendingReceipt;

#[cfg(doc)]
use crate::wire::Receipt;
