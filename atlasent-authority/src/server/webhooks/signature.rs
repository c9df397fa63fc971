//! Signatures of the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// What a signature begins with.
const VERSION: &str = "v1,";

/// How many bytes a secret has.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that an endpoint and its sender share.
///
/// ```
/// use atlasent_authority::server::webhooks::WebhookSecret;
///
/// let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let signature = secret.sign("msg_1", 1_614_265_330, br#"{"test": 1}"#);
/// assert!(signature.starts_with("v1,"));
/// # Ok::<(), atlasent_authority::server::webhooks::InvalidWebhookSecret>(())
/// ```
#[derive(Clone)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

impl WebhookSecret {
    /// Returns the signature of a delivery: `v1,` and base64.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let timestamp = timestamp.to_string();
        let bits = self.mac(id, &timestamp, body).finalize().into_bytes();
        format!("{VERSION}{}", Base64::encode_string(&bits))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length");
        mac.chain_update(id)
            .chain_update(b".")
            .chain_update(timestamp)
            .chain_update(b".")
            .chain_update(body)
    }
}

impl std::str::FromStr for WebhookSecret {
    type Err = InvalidWebhookSecret;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookSecret> {
        let base64 = text.strip_prefix(PREFIX).ok_or(InvalidWebhookSecret)?;
        let bytes = Base64::decode_vec(base64).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| InvalidWebhookSecret)?;
        match BYTES.contains(&bytes.len()) {
            true => Ok(Self(bytes)),
            false => Err(InvalidWebhookSecret),
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// The error for a text that is not a secret. It repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct InvalidWebhookSecret;

/// A delivery as it was received.
#[derive(Clone, Copy, Debug)]
pub struct WebhookDelivery<'a> {
    /// The header `webhook-id`.
    pub id: &'a str,
    /// The header `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// The header `webhook-signature`: signatures, separated by spaces.
    pub signatures: &'a str,
    /// The body, byte by byte as it was received.
    pub body: &'a [u8],
}

impl WebhookDelivery<'_> {
    /// Verifies that one of the signatures is of one of the secrets, and that the delivery is at
    /// most `tolerance` older or newer than `now`.
    ///
    /// # Errors
    ///
    /// The reason why the delivery must not be believed.
    pub fn verify(
        &self,
        secrets: &[WebhookSecret],
        now: Timestamp,
        tolerance: SignedDuration,
    ) -> Result<(), WebhookRefusal> {
        // Digits only: `parse` would accept a sign, which a receiver in another language may not.
        let is_number = self.timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let sent = self.timestamp.parse().ok().filter(|_| is_number);
        let sent = sent.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let sent = sent.ok_or(WebhookRefusal::InvalidTimestamp)?;
        if !self
            .signatures
            .split(' ')
            .any(|one| self.is_signed(one, secrets))
        {
            return Err(WebhookRefusal::NoMatch);
        }
        let age = now.duration_since(sent);
        if age > tolerance {
            return Err(WebhookRefusal::TooOld);
        }
        if -age > tolerance {
            return Err(WebhookRefusal::TooNew);
        }
        Ok(())
    }

    fn is_signed(&self, signature: &str, secrets: &[WebhookSecret]) -> bool {
        let signature = signature.strip_prefix(VERSION);
        let Some(Ok(bits)) = signature.map(Base64::decode_vec) else {
            return false;
        };
        // In constant time.
        let verifies = |secret: &WebhookSecret| {
            let mac = secret.mac(self.id, self.timestamp, self.body);
            mac.verify_slice(&bits).is_ok()
        };
        secrets.iter().any(verifies)
    }
}

/// Why a delivery must not be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookRefusal {
    /// The timestamp is not a number of seconds since 1970.
    #[error("its `webhook-timestamp` is not a number of seconds since 1970")]
    InvalidTimestamp,
    /// No signature is of one of the secrets.
    #[error(
        "no signature of `webhook-signature` matches: the secret is another one, or the delivery was changed"
    )]
    NoMatch,
    /// The delivery is older than the tolerance.
    #[error("it was sent too long ago: it may be a repetition by somebody else")]
    TooOld,
    /// The delivery is newer than the tolerance.
    #[error("it was sent in the future: compare the clocks")]
    TooNew,
}

#[cfg(test)]
mod tests {
    use super::*;

    // The values of `sign function works` in the tests of the specification's own library
    // (standard-webhooks/standard-webhooks, `libraries/javascript/src/webhook.test.ts`).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verify(
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
    ) -> Result<(), WebhookRefusal> {
        let delivery = WebhookDelivery {
            id,
            timestamp,
            signatures,
            body,
        };
        let now = Timestamp::from_second(TIMESTAMP + 60).unwrap();
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        let secrets = [other, SECRET.parse().unwrap()];
        delivery.verify(&secrets, now, SignedDuration::from_mins(5))
    }

    #[test]
    fn a_signature_is_that_of_the_specifications_library() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        assert_eq!(secret.sign(ID, TIMESTAMP, BODY), SIGNATURE);
        assert_eq!(verify(ID, &TIMESTAMP.to_string(), SIGNATURE, BODY), Ok(()));
        assert!(!format!("{secret:?}").contains("MfKQ"));
    }

    #[test]
    fn one_good_signature_among_others_is_enough() {
        let many = format!("v1,AAAA v2,{SIGNATURE} v1a,xyz {SIGNATURE} v1,!");
        assert_eq!(verify(ID, &TIMESTAMP.to_string(), &many, BODY), Ok(()));
    }

    #[test]
    fn every_changed_part_is_refused() {
        let at = TIMESTAMP.to_string();
        let later = (TIMESTAMP + 1).to_string();
        let cut = SIGNATURE.get(..20).unwrap();
        for (id, at, signatures, body) in [
            ("msg_x", &*at, SIGNATURE, BODY),
            (ID, &*later, SIGNATURE, BODY),
            (ID, &*at, SIGNATURE, b"{}"),
            (ID, &*at, cut, BODY),
            (ID, &*at, "v1,", BODY),
            (ID, &*at, "", BODY),
            (ID, &*at, &SIGNATURE.replace("v1,", "v2,"), BODY),
        ] {
            let refused = verify(id, at, signatures, body);
            assert_eq!(
                refused,
                Err(WebhookRefusal::NoMatch),
                "{id} {at} {signatures}"
            );
        }
        for at in [
            "",
            "noon",
            "-5",
            "+1614265330",
            "1614265330.0",
            "99999999999999999999",
        ] {
            let refused = verify(ID, at, SIGNATURE, BODY);
            assert_eq!(refused, Err(WebhookRefusal::InvalidTimestamp), "{at}");
        }
    }

    #[test]
    fn a_delivery_from_another_time_is_refused() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        for (age, expected) in [
            (301, Err(WebhookRefusal::TooOld)),
            (300, Ok(())),
            (-300, Ok(())),
            (-301, Err(WebhookRefusal::TooNew)),
        ] {
            let sent = TIMESTAMP + 60 - age;
            let signature = secret.sign(ID, sent, BODY);
            assert_eq!(verify(ID, &sent.to_string(), &signature, BODY), expected);
        }
    }

    #[test]
    fn a_secret_that_is_short_or_no_base64_is_refused() {
        let short = format!("whsec_{}", Base64::encode_string(&[7; 23]));
        let long = format!("whsec_{}", Base64::encode_string(&[7; 65]));
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_?",
            &short,
            &long,
        ] {
            assert!(text.parse::<WebhookSecret>().is_err(), "{text}");
        }
    }
}
