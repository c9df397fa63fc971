//! The issuer of a permit: the mark that tells the permits of one authority from those of another.
//!
//! Any type can implement [`Authority`] and allow everything, so an allow does not show which
//! authority gave it. An authority therefore owns an [`Issuer`], which cannot be copied, and marks
//! each good verification with it. A mark moves with the answer and fits one request only. For
//! example, `Wrapper` forwards to `Real`:
//!
//! ```text
//! protect() ── request no. 7 ──► Wrapper::verify ── request no. 7 ──► Real::verify
//!                                                                        │ issuer.vouch(no. 7, valid)
//! permit granted by Real  ◄── valid, marked (Real, no. 7) ◄── forwarded ◄┘
//! permit without an issuer ◄── valid, marked (Real, no. 6) ◄── kept from an earlier request
//! permit without an issuer ◄── valid, unmarked ◄── a clone  (`Clone` does not copy the mark)
//! ```
//!
//! An authority that forwards the answers of another one keeps the marks for free. An authority
//! that invents an answer cannot invent the mark.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::permit::PermitRecord;
use crate::receipts::ReceiptQueue;
use crate::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, PermitToken, Receipt,
    Verification, VerifyRequest,
};
use crate::{Authority, Error};

/// Marks permits as granted by one authority. The authority owns it and keeps it private.
///
/// ```
/// use atlasent::authority::{Issuer, IssuerId};
/// use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
/// use atlasent::{Authority, Decision, Error};
///
/// /// Decides by its own directory of agents.
/// struct Directory {
///     issuer: Issuer,
/// }
///
/// impl Authority for Directory {
///     async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
///         Ok(Evaluation::refuse(Decision::Deny, "not in the directory"))
///     }
///
///     async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
///         let answer = Verification::refuse(None, "no such permit");
///         Ok(self.issuer.vouch(request, answer))
///     }
///
///     fn issuer(&self) -> Option<IssuerId> {
///         Some(self.issuer.id())
///     }
/// }
/// ```
///
/// [`WithIssuer`] does this for an authority without an issuer.
#[derive(Debug)]
pub struct Issuer {
    id: IssuerId,
    receipts: Option<ReceiptQueue>,
}

/// Identifies an [`Issuer`] within this process. It grants nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerId(NonZeroU64);

impl Issuer {
    /// Creates an issuer that differs from every other in this process.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: IssuerId(next()),
            receipts: None,
        }
    }

    /// Sends the receipts of the permits that this issuer marks to `queue`. By default no receipts
    /// are sent. A second call replaces the queue.
    #[must_use]
    pub fn with_receipts(mut self, queue: ReceiptQueue) -> Self {
        self.receipts = Some(queue);
        self
    }

    /// Returns the queue to which the receipts of permits go, if there is one.
    #[must_use]
    pub fn receipts(&self) -> Option<&ReceiptQueue> {
        self.receipts.as_ref()
    }

    /// Returns the id of this issuer.
    #[must_use]
    pub fn id(&self) -> IssuerId {
        self.id
    }

    /// Marks `answer` as this authority's answer to `request`.
    ///
    /// The mark is valid for this value of `request` and this value of `answer`; clones of either
    /// do not have it. Only an answer that [is good](Verification::is_good) is marked. A mark of
    /// another issuer is replaced; an issuer without a [queue](Self::with_receipts) leaves the
    /// receipts to the other one.
    #[must_use]
    pub fn vouch(&self, request: &VerifyRequest, answer: Verification) -> Verification {
        self.vouch_for(request, &request.permit_token, answer)
    }

    /// Marks `answer` as [`vouch`](Self::vouch) does, for the answers of
    /// `Authority::evaluate_and_verify`: `token` is that of the allow, which `request` gets later.
    #[doc(hidden)]
    #[must_use]
    pub fn vouch_for(
        &self,
        request: &VerifyRequest,
        token: &PermitToken,
        mut answer: Verification,
    ) -> Verification {
        let former = answer.mark.take_receipts_for(request, token);
        answer.mark = IssuerMark(answer.is_good().then(|| MarkedRequest {
            issuer: self.id,
            request: request.serial.0,
            token: token.clone(),
            receipts: self.receipts.clone().or(former),
        }));
        answer
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerId({})", self.0)
    }
}

/// Returns a number that no earlier call in this process returned.
fn next() -> NonZeroU64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // 2^64 numbers last for centuries.
    NonZeroU64::MIN.saturating_add(count)
}

/// The number of a request, which ties a mark to it. A clone of a request gets a new number.
#[derive(Debug)]
pub(crate) struct RequestSerial(NonZeroU64);

impl Default for RequestSerial {
    fn default() -> Self {
        Self(next())
    }
}

impl Clone for RequestSerial {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Requests compare by their content, so two numbers are always equal.
impl PartialEq for RequestSerial {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The mark of an issuer on an answer. Answers without an issuer, and clones, have no mark.
#[derive(Debug, Default)]
pub(crate) struct IssuerMark(Option<MarkedRequest>);

#[derive(Debug)]
struct MarkedRequest {
    issuer: IssuerId,
    request: NonZeroU64,
    /// The token that was verified. An answer that comes along with its allow was given before the
    /// request had the token.
    token: PermitToken,
    receipts: Option<ReceiptQueue>,
}

impl IssuerMark {
    /// Returns the issuer that marked the answer, if the mark is for this `request`.
    pub(crate) fn issuer_for(&self, request: &VerifyRequest) -> Option<IssuerId> {
        let mark = self.mark_for(request, &request.permit_token)?;
        Some(mark.issuer)
    }

    /// Returns the queue for the receipt of the permit, if the mark is for this `request`.
    pub(crate) fn receipts_for(&self, request: &VerifyRequest) -> Option<ReceiptQueue> {
        let mark = self.mark_for(request, &request.permit_token)?;
        mark.receipts.clone()
    }

    fn take_receipts_for(
        &mut self,
        request: &VerifyRequest,
        token: &PermitToken,
    ) -> Option<ReceiptQueue> {
        self.mark_for(request, token)?;
        self.0.take()?.receipts
    }

    fn mark_for(&self, request: &VerifyRequest, token: &PermitToken) -> Option<&MarkedRequest> {
        let mark = self.0.as_ref()?;
        (mark.request == request.serial.0 && mark.token == *token).then_some(mark)
    }
}

impl Clone for IssuerMark {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Answers compare by their content, so two marks are always equal.
impl PartialEq for IssuerMark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Gives an authority an [`Issuer`], so that a [`Guarded`](crate::Guarded) can accept its permits.
///
/// `LocalAuthority`, `Client` and `MockAuthority` have their own issuer.
/// [`configure`](crate::configure) gives one to an authority without.
///
/// ```
/// use atlasent::authority::WithIssuer;
/// use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
/// use atlasent::{Authority, Decision, Error};
///
/// struct Closed;
///
/// impl Authority for Closed {
///     async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
///         Ok(Evaluation::refuse(Decision::Hold, "closed for maintenance"))
///     }
///
///     async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
///         Ok(Verification::refuse(None, "closed for maintenance"))
///     }
/// }
///
/// assert!(Closed.issuer().is_none());
/// let closed = WithIssuer::new(Closed);
/// assert!(closed.issuer().is_some());
/// ```
#[derive(Debug)]
pub struct WithIssuer<P> {
    authority: P,
    issuer: Issuer,
}

impl<P: Authority> WithIssuer<P> {
    /// Wraps `authority` with a new issuer. Each call makes a different issuer: to share one, share
    /// the result in an `Arc`.
    #[must_use]
    pub fn new(authority: P) -> Self {
        Self {
            authority,
            issuer: Issuer::new(),
        }
    }

    /// Wraps `authority` with a new issuer whose permits send their receipts to
    /// [`complete`](Authority::complete).
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use atlasent::authority::WithIssuer;
    /// use atlasent::wire::{
    ///     EvaluateRequest, Evaluation, PermitToken, Receipt, Verification, VerifyRequest,
    /// };
    /// use atlasent::{AnyAction, Authority, AuthorityExt, Error};
    ///
    /// /// Allows everything, and keeps how it ended.
    /// #[derive(Default)]
    /// struct Lenient(Mutex<Vec<Receipt>>);
    ///
    /// impl Authority for Lenient {
    ///     async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
    ///         Ok(Evaluation::allow(PermitToken::new("permit_0123456789")?))
    ///     }
    ///
    ///     async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
    ///         Ok(Verification::valid())
    ///     }
    ///
    ///     async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
    ///         self.0.lock().unwrap().push(receipt.clone());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # futures_executor::block_on(async {
    /// let lenient = Arc::new(Lenient::default());
    /// let authority = WithIssuer::sending_receipts(Arc::clone(&lenient));
    /// authority.with_permit("bot", AnyAction::new("deploy")?, async |_| Ok::<_, Error>(())).await?;
    /// authority.receipts().unwrap().flush().await;
    /// assert_eq!(lenient.0.lock().unwrap().len(), 1);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn sending_receipts(authority: P) -> Self
    where
        P: Clone + 'static,
    {
        let completing = authority.clone();
        let queue = ReceiptQueue::new(move |receipt| {
            let authority = completing.clone();
            async move { authority.complete(&receipt).await }
        });
        Self {
            authority,
            issuer: Issuer::new().with_receipts(queue),
        }
    }

    /// Returns the queue of the receipts, of a wrapper that
    /// [sends receipts](Self::sending_receipts).
    #[must_use]
    pub fn receipts(&self) -> Option<&ReceiptQueue> {
        self.issuer.receipts()
    }

    /// Returns the wrapped authority. Permits that are obtained from it directly are not marked.
    pub fn get_ref(&self) -> &P {
        &self.authority
    }
}

impl<P: Authority> Authority for WithIssuer<P> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.authority.evaluate(request).await
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        self.authority.evaluate_all(requests).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let answer = self.authority.verify(request).await?;
        Ok(self.issuer.vouch(request, answer))
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        let (evaluation, verification) =
            (self.authority.evaluate_and_verify(request, restated)).await?;
        let vouched = (evaluation.permit_token.as_ref())
            .zip(verification)
            .map(|(token, answer)| self.issuer.vouch_for(restated, token, answer));
        Ok((evaluation, vouched))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.authority.permit_status(permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.authority.complete(receipt).await
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        self.authority.wait(escalation_id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id)
    }
}

/// Returns the issuer of an authority, for code that requires one.
///
/// # Errors
///
/// [`Error::Config`] when the authority has no issuer. The message says how to add one.
pub fn issuer_of<P: Authority + ?Sized>(authority: &P) -> Result<IssuerId, Error> {
    authority.issuer().ok_or_else(|| {
        Error::config(
            "this authority has no issuer, so its permits cannot be told from others: \
             wrap it in `WithIssuer::new(authority)`, or implement `Authority::issuer`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> VerifyRequest {
        VerifyRequest::new(PermitToken::new("p").unwrap())
    }

    #[test]
    fn a_mark_fits_one_question_only() {
        let (issuer, first, second) = (Issuer::new(), question(), question());
        let answer = issuer.vouch(&first, Verification::valid());
        assert_eq!(answer.mark.issuer_for(&first), Some(issuer.id()));
        assert_eq!(answer.mark.issuer_for(&second), None);
        assert_eq!(answer.mark.issuer_for(&first.clone()), None);
        assert_eq!(first, second, "equal all the same");
    }

    #[test]
    fn a_copy_of_a_marked_answer_is_not_marked() {
        let (issuer, question) = (Issuer::new(), question());
        let answer = issuer.vouch(&question, Verification::valid());
        let copy = answer.clone();
        assert_eq!((copy.mark.issuer_for(&question), &copy), (None, &answer));
        let json = serde_json::to_string(&answer).unwrap();
        let read: Verification = serde_json::from_str(&json).unwrap();
        assert_eq!(read.mark.issuer_for(&question), None);
    }

    #[test]
    fn a_refusal_is_not_marked_and_cannot_be_turned_into_a_marked_yes() {
        let (issuer, question) = (Issuer::new(), question());
        let mut answer = issuer.vouch(&question, Verification::refuse(None, "no"));
        answer.valid = true;
        answer.outcome = Some("allow".into());
        answer.consumed = Some(true);
        assert!(answer.is_good());
        assert_eq!(answer.mark.issuer_for(&question), None);
    }

    #[test]
    fn vouching_replaces_the_mark_of_another_issuer() {
        let (inner, outer, question) = (Issuer::new(), Issuer::new(), question());
        assert_ne!(inner.id(), outer.id());
        let answer = inner.vouch(&question, Verification::valid());
        let answer = outer.vouch(&question, answer);
        assert_eq!(answer.mark.issuer_for(&question), Some(outer.id()));
    }
}
