//! Receipts: how the body of a permit ended goes onto the chain.
//!
//! A receipt is accepted once a permit, with its token, after its verification. It needs no policy
//! and no stop's consent, since it tells what has happened.

use std::sync::{Arc, Weak};

use atlasent::error::{Code, Failure};
use atlasent::receipts::{ReceiptCounts, ReceiptQueue};
use atlasent::wire::{Receipt, RecordedReceipt};
use atlasent::{Error, authority};

use crate::clock::Clock;
use crate::ledger::permit_key::PermitKey;
use crate::ledger::{ReceiptRefusal, RecordedEnd};
use crate::local::caller::{Attribution, Caller};
use crate::local::{LocalAuthority, commit, failed};
use crate::store::{CellKey, Changeset, Store};
use crate::trail::chain::format_time;
use crate::trail::record;

impl<S: Store> LocalAuthority<S> {
    /// Records how the body of a permit ended: an event `permit.completed`, `permit.failed` or
    /// `permit.cancelled`.
    ///
    /// Bodies that run under this authority's permits do this by themselves, see
    /// [`receipts`](crate::LocalAuthorityBuilder::receipts). The same receipt again gets the same
    /// answer, and records nothing. The ledger forgets a permit some time after it has expired, and
    /// refuses its receipt then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use atlasent::wire::{EvaluateRequest, Receipt, ReceiptOutcome, VerifyRequest};
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let allow = authority.evaluate(&request).await?;
    /// let (id, token) = (allow.permit_id.unwrap(), allow.permit_token.unwrap());
    /// authority.verify(&VerifyRequest::restating(&request, token.clone())).await?;
    ///
    /// let receipt = Receipt::new(id, token, ReceiptOutcome::Completed, Duration::from_secs(1));
    /// let recorded = authority.complete_permit(&receipt).await?;
    /// assert_eq!(authority.complete_permit(&receipt).await?, recorded);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the receipt's error is too long. [`Error::Failed`] when the receipt
    /// is refused (its source is a [`ReceiptRefusal`](crate::ReceiptRefusal)), or cannot be
    /// recorded.
    pub async fn complete_permit(&self, receipt: &Receipt) -> Result<RecordedReceipt, Error> {
        let caller = Caller::embedded(&self.secret);
        self.complete_for(&caller, receipt.clone())
            .await?
            .map_err(refused)
    }

    /// Records the receipt of a caller.
    pub(crate) async fn complete_for(
        &self,
        caller: &Caller<'_>,
        receipt: Receipt,
    ) -> Result<Result<RecordedReceipt, ReceiptRefusal>, Error> {
        let (attribution, permit_id) = (caller.attribution(), receipt.permit_id.clone());
        let receipt = receipt.checked()?;
        let end = record_receipt(&*self.store, &*self.clock, attribution, receipt).await?;
        Ok(end.map(|end| {
            RecordedReceipt::new(
                &*end.receipt_id,
                permit_id,
                end.outcome,
                &*end.audit_hash,
                format_time(end.at),
            )
        }))
    }

    /// Waits until the receipts of all bodies that have ended are recorded or lost. Call it before
    /// the process ends, or before the store is opened again.
    ///
    /// With a store in memory, receipts are recorded before the body's result is returned, and
    /// there is nothing to wait for.
    pub async fn flush_receipts(&self) {
        if let Some(queue) = self.issuer.receipts() {
            queue.flush().await;
        }
    }

    /// Returns how many receipts of bodies were recorded and lost.
    #[must_use]
    pub fn receipt_counts(&self) -> ReceiptCounts {
        let queue = self.issuer.receipts();
        queue.map(ReceiptQueue::counts).unwrap_or_default()
    }
}

/// Creates the issuer of an authority that records the receipts of bodies in `store`.
///
/// A permit that outlives its authority does not keep the store open: its receipt is lost, and
/// counted.
pub(super) fn issuer_with_receipts<S: Store>(
    store: &Arc<S>,
    clock: &Arc<dyn Clock>,
) -> authority::Issuer {
    let (store, clock): (Weak<S>, _) = (Arc::downgrade(store), Arc::clone(clock));
    // The stores take a change when its future is first polled, and need no runtime of the caller.
    let queue = ReceiptQueue::at_once(move |receipt: Receipt| {
        let (store, clock) = (store.upgrade(), Arc::clone(&clock));
        async move {
            let store = store.ok_or_else(|| {
                Failure::new(
                    Code::ServerError,
                    "the authority was dropped before the body ended",
                )
            })?;
            let attribution = Attribution::default();
            record_receipt(&*store, &*clock, attribution, receipt)
                .await?
                .map_err(refused)?;
            Ok(())
        }
    });
    authority::Issuer::new().with_receipts(queue)
}

async fn record_receipt<S: Store>(
    store: &S,
    clock: &dyn Clock,
    attribution: Attribution,
    receipt: Receipt,
) -> Result<Result<Arc<RecordedEnd>, ReceiptRefusal>, Error> {
    let key = PermitKey::from_token(&receipt.permit_token);
    if receipt.permit_id.parse() != Ok(key.id()) {
        return Ok(Err(ReceiptRefusal::OtherToken));
    }
    let change =
        move |changeset: &mut Changeset<'_>| record_once(changeset, key, attribution, receipt);
    commit(
        store,
        clock,
        failed::RECEIPT,
        vec![CellKey::Permit(key)],
        change,
    )
    .await
}

/// Records the receipt, unless it was recorded before.
fn record_once(
    changeset: &mut Changeset<'_>,
    key: PermitKey,
    attribution: Attribution,
    receipt: Receipt,
) -> Result<Arc<RecordedEnd>, ReceiptRefusal> {
    let environment = attribution.environment.as_deref();
    let known = changeset.permit(key);
    let known = known.filter(|entry| entry.grant.is_known_to(environment));
    let entry = known.ok_or(ReceiptRefusal::UnknownPermit)?;
    if let Some(end) = entry.check_receipt(&receipt)? {
        return Ok(Arc::clone(end));
    }
    let mut entry = entry.clone();
    let event = record::receipt(&receipt, key, &entry);
    let receipt_id = Arc::clone(&event.id);
    let event = changeset.record(attribution.sign(event));
    let end = Arc::new(RecordedEnd {
        receipt_id,
        audit_hash: Arc::clone(&event.hash),
        at: changeset.time(),
        outcome: receipt.outcome,
        duration_ms: receipt.duration_ms,
        result_hash: receipt.result_hash,
        error: receipt.error,
    });
    entry.end = Some(Arc::clone(&end));
    changeset.keep_permit(key, entry);
    Ok(end)
}

/// The error of a receipt that was refused.
fn refused(refusal: ReceiptRefusal) -> Error {
    Failure::new(Code::BadRequest, refusal.to_string())
        .with_source(refusal)
        .into()
}
