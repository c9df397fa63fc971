//! Bundles sealed by the Python SDK, and the result of its `verify_bundle` for each.
//!
//! To add a bundle: in an environment with `atlasent` 2.0.0 and `cryptography`, chain the events
//! with `audit_bundle.canonical_json` and SHA-256, sign `audit_bundle.signed_bytes_for(bundle)`,
//! write the file in any formatting, and put the fields that
//! `audit_bundle.verify_bundle(path, pems)` returns into `expected.json`, with the PEMs. Version
//! 2.18.0 answers the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use atlasent::audit::{BundleReport, BundleVerifier, TrustedKeys};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Expected {
    pems: Vec<String>,
    result: Value,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/audit/golden/bundles")
}

fn answers(report: &BundleReport) -> Value {
    json!({
        "verified": report.verified(),
        "chain_integrity_ok": report.chain.integrity_ok,
        "signature_valid": report.signature_valid,
        "head_hash_matches": report.chain.head_hash_matches,
        "tampered_event_ids": report.chain.tampered_event_ids,
        "matched_key_id": report.matched_key_id,
        "reason": report.reason,
    })
}

#[test]
fn what_the_python_sdk_says_of_a_bundle_is_what_is_said_here() {
    let expected = fs::read(directory().join("expected.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&expected).unwrap();
    assert_eq!(
        expected.len() + 1,
        fs::read_dir(directory()).unwrap().count()
    );
    for (name, expected) in expected {
        let path = directory().join(&name).with_extension("json");
        let keys = TrustedKeys::from_pems(&expected.pems);
        let mut verifier = BundleVerifier::new(&keys);
        for report in [
            verifier.verify_path(&path),
            verifier.verify_bytes(fs::read(&path).unwrap()),
            verifier.verify_reader(File::open(&path).unwrap()),
        ] {
            let report = report.unwrap();
            assert_eq!(answers(&report), expected.result, "{name}");
            assert!(report.verified() || !report.is_intact(), "{name}");
        }
    }
}
