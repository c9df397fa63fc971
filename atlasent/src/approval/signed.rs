//! What artifacts and identity assertions have in common: a lifetime and a signature.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::key::Key;
use super::members::{Object, ensure, text};
use super::reason::Reason;
use crate::canonical::{Spelling, canonical_json};
use crate::permit::expiry::iso_8601;

/// Returns the text that the issuer of an artifact or of an identity assertion signs: its canonical
/// JSON without the member `signature`.
///
/// ```
/// use serde_json::json;
///
/// let artifact = json!({"nonce": "5f1c6a8e", "approval_id": "apr-7", "signature": "…"});
/// let text = atlasent::approval::signed_text(&artifact);
/// assert_eq!(text, r#"{"approval_id":"apr-7","nonce":"5f1c6a8e"}"#);
/// ```
#[must_use]
pub fn signed_text(object: &Value) -> String {
    match object {
        Value::Object(object) => payload(object),
        other => canonical_json(other, Spelling::AsWritten),
    }
}

/// How far in the future an approval may be issued, since the clocks of the issuer and of the
/// verifier may differ.
pub(super) const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The reasons for an object that was not signed, or not for this moment.
pub(super) struct SignedReasons {
    pub(super) expired: Reason,
    pub(super) issued_in_future: Reason,
    pub(super) invalid_signature: Reason,
}

/// A signed object that was verified.
pub(super) struct SignedObject {
    /// The canonical JSON of the object without its `signature`: the text that is signed.
    pub(super) payload: String,
    pub(super) expires_at: Timestamp,
}

/// Checks expiry, time of issue and signature, in this order.
pub(super) fn verify_signed(
    object: &Object,
    key: &Key,
    now: Timestamp,
    reasons: SignedReasons,
) -> Result<SignedObject, Reason> {
    let expires_at = time(object, "expires_at").filter(|expires_at| *expires_at > now);
    let expires_at = expires_at.ok_or(reasons.expired)?;
    let issued_at = time(object, "issued_at");
    let is_past = issued_at.is_some_and(|issued_at| !is_in_future(issued_at, now));
    ensure(is_past, reasons.issued_in_future)?;
    let payload = payload(object);
    let is_signed = text(object, "signature")
        .is_some_and(|signature| key.verifies(payload.as_bytes(), signature));
    ensure(is_signed, reasons.invalid_signature)?;
    Ok(SignedObject {
        payload,
        expires_at,
    })
}

/// Whether the time is more than the [`TOLERANCE`] after `now`.
pub(super) fn is_in_future(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > TOLERANCE
}

/// Returns the time of a member. Without an offset it is in UTC.
pub(super) fn time(object: &Object, name: &str) -> Option<Timestamp> {
    text(object, name).and_then(iso_8601)
}

fn payload(object: &Object) -> String {
    let mut unsigned = object.clone();
    unsigned.remove("signature");
    canonical_json(&unsigned, Spelling::AsWritten)
}
