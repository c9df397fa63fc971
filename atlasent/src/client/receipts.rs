//! Receipts: the call that records how the body of a permit ended, and the queue that makes it for
//! bodies that cannot wait.

use std::sync::Arc;

use super::Client;
use super::permits::path;
use super::transport::Transport;
use crate::Error;
use crate::error::{Code, Failure};
use crate::protect::is_public_id;
use crate::receipts::{ReceiptCounts, ReceiptQueue};
use crate::wire::{Receipt, RecordedReceipt};

impl Client {
    /// Records how the body of a permit ended: `POST /v1/permits/{id}/complete`.
    ///
    /// Bodies do this by themselves where the client
    /// [sends receipts](super::ClientBuilder::receipts). The same receipt again gets the same
    /// answer. The hosted service has no receipts.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use atlasent::Client;
    /// use atlasent::wire::{PermitToken, Receipt, ReceiptOutcome};
    ///
    /// # async fn f(client: Client, id: &str, token: PermitToken) -> Result<(), atlasent::Error> {
    /// let receipt = Receipt::new(id, token, ReceiptOutcome::Failed, Duration::from_secs(3))
    ///     .with_error("the registry did not answer");
    /// println!("recorded as {}", client.complete_permit(&receipt).await?.audit_hash);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the id is not that of a permit. [`Error::Failed`] when the server
    /// gave no usable answer; its [status](Failure::status) is 403 for a token of another permit, 404
    /// for an unknown permit, and 409 for a permit that was not used or has another receipt.
    pub async fn complete_permit(&self, receipt: &Receipt) -> Result<RecordedReceipt, Error> {
        send(&self.shared.transport, receipt).await
    }

    /// Waits until the receipts of all bodies that have ended are delivered or lost. Call it before
    /// the process ends.
    ///
    /// Without [receipts](super::ClientBuilder::receipts), it returns at once. A server that does
    /// not answer can delay it by a minute; to wait for less, put the future into a timeout.
    pub async fn flush_receipts(&self) {
        if let Some(queue) = self.shared.issuer.receipts() {
            queue.flush().await;
        }
    }

    /// Returns how many receipts of bodies were delivered and lost.
    #[must_use]
    pub fn receipt_counts(&self) -> ReceiptCounts {
        let queue = self.shared.issuer.receipts();
        queue.map(ReceiptQueue::counts).unwrap_or_default()
    }
}

/// Creates the queue of a client. It shares the connections, and not the client, so it works when
/// all clones of the client are dropped before a body ends.
pub(super) fn queue(transport: &Arc<Transport>) -> ReceiptQueue {
    let transport = Arc::clone(transport);
    ReceiptQueue::new(move |receipt: Receipt| {
        let transport = Arc::clone(&transport);
        async move { send(&transport, &receipt).await.map(drop) }
    })
}

async fn send(transport: &Transport, receipt: &Receipt) -> Result<RecordedReceipt, Error> {
    // An older service names a permit by its token, which must not become part of a URL.
    if !is_public_id(&receipt.permit_id) {
        return Err(Error::invalid(
            "the service sent no public id (`pt_…`) with the permit, so it takes no receipts",
        ));
    }
    let mut body = receipt.clone().checked()?;
    body.error = (body.error).map(|error| error.replace(transport.credential.expose(), "…"));
    let call = transport
        .post(&path(&receipt.permit_id, "/complete")?, &body)?
        .with_permit(&receipt.permit_token);
    let mut response = transport.fetch_response(&call).await?;
    let mut recorded: RecordedReceipt = response.read()?;
    if (&recorded.permit_id, recorded.outcome) != (&receipt.permit_id, receipt.outcome) {
        let text = "the answer is about another receipt";
        return Err(response.fail(Failure::new(Code::BadResponse, text)));
    }
    recorded.rate_limit = response.metadata.rate_limit;
    Ok(recorded)
}
