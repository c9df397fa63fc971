//! The receipt of a permit: how the protected body ended (contract, part D).

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::json::object::Object;
use crate::text::Escaped;
use crate::text::redact::Redacted;
use crate::wire::{MAX_INTEGER, PermitToken, RateLimit};

/// The maximum number of characters of [`Receipt::error`].
const MAX_ERROR: usize = 500;

/// How the body of a permit ended. It serializes to the body of `POST /v1/permits/{id}/complete`,
/// whose path holds the id.
///
/// ```
/// use std::time::Duration;
/// use atlasent::wire::{PermitToken, Receipt, ReceiptOutcome, ResultHash};
///
/// let token = PermitToken::new("permit_0123456789")?;
/// let id = "pt_ba7816bf8f01cfea414140de5dae2223";
/// let receipt = Receipt::new(id, token, ReceiptOutcome::Completed, Duration::from_millis(12))
///     .with_result_hash(ResultHash::of("release 41"));
/// assert_eq!(receipt.duration_ms, 12);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The permit's public id (`pt_…`), as [`PermitRecord::id`](crate::permit::PermitRecord::id).
    #[serde(skip)]
    pub permit_id: String,
    /// The permit's token, which the verification used up. It proves that the sender ran the body.
    pub permit_token: PermitToken,
    /// How the body ended.
    pub outcome: ReceiptOutcome,
    /// How long the body ran, in milliseconds, at most [`MAX_INTEGER`].
    pub duration_ms: u64,
    /// The SHA-256 of the body's result, in lower-case hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_hash: Option<ResultHash>,
    /// Why the body failed, at most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Receipt {
    /// Creates a receipt without a result hash and without an error. A longer duration is cut to
    /// [`MAX_INTEGER`] milliseconds.
    #[must_use]
    pub fn new(
        permit_id: impl Into<String>,
        permit_token: PermitToken,
        outcome: ReceiptOutcome,
        duration: std::time::Duration,
    ) -> Self {
        Self {
            permit_id: permit_id.into(),
            permit_token,
            outcome,
            duration_ms: u64::try_from(duration.as_millis())
                .map_or(MAX_INTEGER, |millis| millis.min(MAX_INTEGER)),
            result_hash: None,
            error: None,
        }
    }

    /// Sets the hash of the body's result. A second call replaces the first.
    #[must_use]
    pub fn with_result_hash(mut self, hash: ResultHash) -> Self {
        self.result_hash = Some(hash);
        self
    }

    /// Sets why the body failed. The text is put on one line, loses the permit's token, and is cut
    /// after 500 characters. A second call replaces the first.
    ///
    /// The text becomes part of the audit chain, which nothing leaves again: pass a text of the
    /// program, and no value of a customer.
    #[must_use]
    pub fn with_error(mut self, error: &str) -> Self {
        let scrubbed = self.permit_token.scrub(error);
        let line = Escaped::new(&scrubbed).to_string();
        self.error = Some(line.chars().take(MAX_ERROR).collect());
        self
    }

    /// Checks a receipt that came from outside, and removes the permit's token from its error.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the error has more than 500 characters, or the duration is longer
    /// than [`MAX_INTEGER`] milliseconds.
    pub fn checked(self) -> Result<Self, Error> {
        if self.duration_ms > MAX_INTEGER {
            return Err(Error::invalid(format!(
                "`duration_ms` is more than {MAX_INTEGER}"
            )));
        }
        let Some(error) = &self.error else {
            return Ok(self);
        };
        if error.chars().count() > MAX_ERROR {
            return Err(Error::invalid(format!(
                "`error` has more than {MAX_ERROR} characters"
            )));
        }
        let error = error.clone();
        Ok(self.with_error(&error))
    }
}

/// Redacts the token, and the id where it is the used-up token.
impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("permit_id", &Redacted(&self.permit_id))
            .field("permit_token", &self.permit_token)
            .field("outcome", &self.outcome)
            .field("duration_ms", &self.duration_ms)
            .field("result_hash", &self.result_hash)
            .field("error", &self.error)
            .finish()
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptOutcome {
    /// The body returned `Ok`.
    Completed,
    /// The body returned an error, or panicked.
    Failed,
    /// The body was dropped before its end.
    Cancelled,
}

impl ReceiptOutcome {
    /// Returns the word for the outcome: `completed`, `failed` or `cancelled`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ReceiptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SHA-256 of a body's result, in lower-case hexadecimal digits.
///
/// ```
/// use atlasent::wire::ResultHash;
///
/// // As `printf 'release 41' | sha256sum` prints it.
/// assert!(ResultHash::of("release 41").as_str().starts_with("1390c9"));
/// assert!(ResultHash::parse("release 41").is_err());
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ResultHash(String);

impl ResultHash {
    /// Hashes the bytes that stand for a result.
    #[must_use]
    pub fn of(result: impl AsRef<[u8]>) -> Self {
        Self(base16ct::lower::encode_string(&Sha256::digest(result)))
    }

    /// Reads a hash.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is not 64 lower-case hexadecimal digits.
    pub fn parse(hash: impl Into<String>) -> Result<Self, Error> {
        let hash = hash.into();
        let is_hash =
            hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match is_hash {
            true => Ok(Self(hash)),
            false => Err(Error::invalid(
                "`result_hash` is not a SHA-256: write 64 lower-case hexadecimal digits",
            )),
        }
    }

    /// Returns the 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ResultHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A receipt that the authority has recorded: the answer to `POST /v1/permits/{id}/complete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Object<WireRecordedReceipt>")]
#[non_exhaustive]
pub struct RecordedReceipt {
    /// The id of the receipt, which is that of its audit event.
    pub receipt_id: String,
    /// The permit's public id.
    pub permit_id: String,
    /// How the body ended.
    pub outcome: ReceiptOutcome,
    /// The hash of the audit event that recorded the receipt.
    pub audit_hash: String,
    /// When the receipt was recorded (ISO 8601), by the authority's clock.
    pub timestamp: String,
    /// The state of the rate limit, from the headers of the answer.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl RecordedReceipt {
    /// Creates the answer for a receipt that was recorded.
    #[must_use]
    pub fn new(
        receipt_id: impl Into<String>,
        permit_id: impl Into<String>,
        outcome: ReceiptOutcome,
        audit_hash: impl Into<String>,
        timestamp: impl Into<String>,
    ) -> Self {
        Self {
            receipt_id: receipt_id.into(),
            permit_id: permit_id.into(),
            outcome,
            audit_hash: audit_hash.into(),
            timestamp: timestamp.into(),
            rate_limit: None,
        }
    }
}

#[derive(Deserialize)]
struct WireRecordedReceipt {
    receipt_id: String,
    permit_id: String,
    outcome: ReceiptOutcome,
    audit_hash: String,
    timestamp: String,
}

impl From<Object<WireRecordedReceipt>> for RecordedReceipt {
    fn from(Object(wire): Object<WireRecordedReceipt>) -> Self {
        Self::new(
            wire.receipt_id,
            wire.permit_id,
            wire.outcome,
            wire.audit_hash,
            wire.timestamp,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const SECRET: &str = "permit_7c1e55d0a9b84f33";

    fn receipt() -> Receipt {
        let token = PermitToken::new(SECRET).unwrap();
        Receipt::new(
            "pt_1",
            token,
            ReceiptOutcome::Failed,
            Duration::from_secs(2),
        )
    }

    #[test]
    fn the_body_of_a_receipt_is_the_contracts() {
        assert_eq!(
            serde_json::to_value(receipt()).unwrap(),
            json!({"permit_token": SECRET, "outcome": "failed", "duration_ms": 2000})
        );
        let hash = ResultHash::of("");
        let full = receipt()
            .with_result_hash(hash.clone())
            .with_error("disk full");
        assert_eq!(
            serde_json::to_value(full).unwrap(),
            json!({
                "permit_token": SECRET, "outcome": "failed", "duration_ms": 2000,
                "result_hash": hash.as_str(), "error": "disk full"
            })
        );
    }

    #[test]
    fn an_error_is_one_bounded_line_without_the_token() {
        let error = |text: &str| receipt().with_error(text).error.unwrap();
        assert_eq!(error("a\nb"), r"a\nb");
        assert!(!error(&format!("the token {SECRET} failed")).contains(SECRET));
        assert_eq!(error(&"é".repeat(501)).chars().count(), 500);
        // A token that the limit would cut in two is redacted before.
        let late = error(&format!("{}{SECRET}", "x".repeat(490)));
        assert!(!late.contains("permit_7c1"), "{late}");
    }

    #[test]
    fn a_receipt_from_outside_is_checked() {
        let with = |text: &str| Receipt {
            error: Some(text.to_owned()),
            ..receipt()
        };
        assert!(with(&"x".repeat(501)).checked().is_err());
        assert!(with(&"é".repeat(500)).checked().is_ok());
        let scrubbed = with(SECRET).checked().unwrap().error.unwrap();
        assert!(!scrubbed.contains(SECRET));
    }

    #[test]
    fn a_duration_is_a_number_that_every_reader_reads_exactly() {
        let token = PermitToken::new(SECRET).unwrap();
        let longest = Receipt::new("pt_1", token, ReceiptOutcome::Failed, Duration::MAX);
        assert_eq!(longest.duration_ms, 9_007_199_254_740_991);
        let mut longer = longest.clone();
        assert!(longest.checked().is_ok());
        longer.duration_ms += 1;
        let error = longer.checked().unwrap_err().to_string();
        assert!(error.contains("`duration_ms`"), "{error}");
    }

    #[test]
    fn a_receipt_does_not_print_its_token() {
        let own_token_as_id = Receipt {
            permit_id: SECRET.to_owned(),
            ..receipt()
        };
        assert!(!format!("{own_token_as_id:?}").contains(SECRET));
    }

    #[test]
    fn a_result_hash_is_64_lower_case_digits() {
        assert_eq!(
            ResultHash::of("").as_str(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for wrong in [
            String::new(),
            "A".repeat(64),
            "a".repeat(63),
            "g".repeat(64),
        ] {
            assert!(ResultHash::parse(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
