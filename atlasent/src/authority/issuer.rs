//! Which authority granted a permit: the mark that tells the permits of one authority from those of
//! every other.
//!
//! Anybody can implement [`Authority`] and say yes, so a yes alone does not say whose it is. An
//! authority therefore owns an [`Issuer`], which cannot be copied, and marks each good verification
//! with it. The mark moves with the answer and fits one question only:
//!
//! ```text
//! protect() ── question no. 7 ──► Meddler::verify ── question no. 7 ──► Real::verify
//!                                                                          │ issuer.vouch(no. 7, yes)
//! permit granted by Real  ◄── yes, marked (Real, no. 7) ◄── passes it on ◄─┘
//! permit without an issuer ◄── yes, marked (Real, no. 6) ◄── kept from an earlier question
//! permit without an issuer ◄── a copy of a marked yes        (`Clone` leaves the mark behind)
//! ```
//!
//! So an authority that wraps another one and passes its answers on costs nothing, and one that
//! makes up an answer cannot make up the mark.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::permit::PermitRecord;
use crate::wire::{EvaluateRequest, Evaluation, PermitStatus, Verification, VerifyRequest};
use crate::{Authority, Error};

/// The right to mark permits as granted by one authority. An authority owns one and shows it to no
/// other code.
///
/// ```
/// use atlasent::authority::{Issuer, IssuerId};
/// use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
/// use atlasent::{Authority, Decision, Error};
///
/// /// Asks a directory of its own who may do what.
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
/// [`WithIssuer`] does this for an authority that has none.
#[derive(Debug)]
pub struct Issuer {
    id: IssuerId,
}

/// Names an [`Issuer`] within this process. It grants nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerId(NonZeroU64);

impl Issuer {
    /// Creates an issuer that differs from every other in this process.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: IssuerId(next()),
        }
    }

    /// Returns the name of this issuer.
    #[must_use]
    pub fn id(&self) -> IssuerId {
        self.id
    }

    /// Marks the answer to `question` as given by this issuer's authority.
    ///
    /// The mark is good for this very question, once: neither a copy of the answer nor the answer
    /// to a copy of the question has it. Only an answer that [is good](Verification::is_good) is
    /// marked. A mark of another issuer is replaced.
    #[must_use]
    pub fn vouch(&self, question: &VerifyRequest, mut answer: Verification) -> Verification {
        answer.mark = IssuerMark(answer.is_good().then_some(MarkedRequest {
            issuer: self.id,
            question: question.serial.0,
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

/// A number that no earlier call in this process got.
fn next() -> NonZeroU64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // 2^64 numbers last for centuries.
    NonZeroU64::MIN.saturating_add(count)
}

/// Numbers a question, so that a mark fits no other one. A copy of a question is another question.
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

/// What is asked decides whether two questions are equal.
impl PartialEq for RequestSerial {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The mark of an issuer on an answer, if there is one. A copy has none.
#[derive(Debug, Default)]
pub(crate) struct IssuerMark(Option<MarkedRequest>);

#[derive(Debug)]
struct MarkedRequest {
    issuer: IssuerId,
    question: NonZeroU64,
}

impl IssuerMark {
    /// Who answered this very question, as far as the mark says it.
    pub(crate) fn issuer_for(&self, question: &VerifyRequest) -> Option<IssuerId> {
        let vouched = self.0.as_ref()?;
        (vouched.question == question.serial.0).then_some(vouched.issuer)
    }
}

impl Clone for IssuerMark {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What is answered decides whether two answers are equal.
impl PartialEq for IssuerMark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Gives an authority an [`Issuer`], so that a [`Guarded`](crate::Guarded) can name it.
///
/// `LocalAuthority`, `Client` and `MockAuthority` have one of their own.
/// [`configure`](crate::configure) gives one to an authority that has none.
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
    /// Wraps `authority`. Each call makes a different issuer: share the result, in an `Arc`.
    #[must_use]
    pub fn new(authority: P) -> Self {
        Self {
            authority,
            issuer: Issuer::new(),
        }
    }

    /// Returns the wrapped authority. Permits that it grants directly are not marked.
    pub fn get_ref(&self) -> &P {
        &self.authority
    }
}

impl<P: Authority> Authority for WithIssuer<P> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.authority.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let answer = self.authority.verify(request).await?;
        Ok(self.issuer.vouch(request, answer))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.authority.permit_status(permit).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PermitToken;

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
        answer.outcome = Some("allow".to_owned());
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
