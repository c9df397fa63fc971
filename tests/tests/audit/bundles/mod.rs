//! Signed bundles: the verifier notices every change, whichever way it reads the bundle.

use atlasent::audit::{
    BundleError, BundleReport, BundleVerifier, GENESIS_HASH, Problem, TrustedKeys,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};

use crate::golden::hash;

mod any;
mod findings;
mod read;
mod spelled;
mod tampered;
mod threads;

pub(crate) fn signer() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn keys() -> TrustedKeys {
    let key = signer().verifying_key();
    TrustedKeys::new().raw("key-2026", key.as_bytes()).unwrap()
}

pub(crate) fn verify(bundle: impl AsRef<[u8]>) -> Result<BundleReport, BundleError> {
    BundleVerifier::new(&keys()).verify_bytes(bundle)
}

pub(crate) fn problems(report: &BundleReport) -> Vec<Problem> {
    let findings = report.chain.findings.iter();
    findings.map(|finding| finding.problem).collect()
}

/// Returns the members of an envelope, equal to those in its payload.
pub(crate) fn envelope(index: usize) -> String {
    format!(
        r#""id":"evt-{index}","org_id":"org-1","sequence":{},"type":"evaluate.allow","occurred_at":"2026-01-01T00:00:0{}Z","created_at":"2026-01-01T00:00:00Z""#,
        index + 1,
        index % 10
    )
}

/// One event: its payload as it is sent, and in canonical form.
pub(crate) fn event(
    index: usize,
    previous: &str,
    payload: &str,
    canonical: &str,
) -> (String, String) {
    let hash = hash(previous, canonical);
    let envelope = envelope(index);
    let text = format!(
        r#"{{{envelope},"payload":{payload},"hash":"{hash}","previous_hash":"{previous}"}}"#
    );
    (text, hash)
}

/// Builds a chain of events with canonical payloads, and its head.
pub(crate) fn chain<T: AsRef<str>>(payloads: &[T]) -> (Vec<String>, String) {
    let mut head = GENESIS_HASH.to_owned();
    let mut events = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        let (text, hash) = event(index, &head, payload.as_ref(), payload.as_ref());
        events.push(text);
        head = hash;
    }
    (events, head)
}

/// Writes the bundle of these events, up to its signature.
pub(crate) fn unsigned(events: &[String], head: &str) -> String {
    format!(
        r#"{{"export_id":"exp-1","org_id":"org-1","chain_head_hash":"{head}","event_count":{},"signed_at":"2026-01-02T00:00:00Z","events":[{}]"#,
        events.len(),
        events.join(",")
    )
}

/// Signs a text.
pub(crate) fn sign(text: &str) -> String {
    Base64UrlUnpadded::encode_string(&signer().sign(text.as_bytes()).to_bytes())
}

/// Writes the bundle and signs it as it is.
pub(crate) fn signed(unsigned: &str) -> String {
    let signature = sign(&format!("{unsigned}}}"));
    format!(r#"{unsigned},"signature":"{signature}","signing_key_id":"key-2026"}}"#)
}

/// Returns a bundle of three events.
pub(crate) fn bundle() -> String {
    let (events, head) = chain(&[
        r#"{"big":123456789012345678901234567890,"reason":"é🦀\n"}"#,
        r#"{"list":[1,2.5,{"a":null,"b":true}]}"#,
        "{}",
    ]);
    signed(&unsigned(&events, &head))
}

#[test]
fn a_bundle_that_was_signed_is_verified() {
    let report = verify(bundle()).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.chain.events, 3);
    assert_eq!(report.matched_key_id.as_deref(), Some("key-2026"));
    assert_eq!(report.reason, None);
}
