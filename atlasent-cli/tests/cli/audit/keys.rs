//! The keys that `audit verify` is given.

use std::fs;

use atlasent_authority::signing::KeyRing;

use super::{export, json, verify, with_key};

#[test]
fn one_of_several_keys_is_enough_whether_it_is_retired_or_not() {
    let mut exported = export(3, 1);
    let id = exported.key_id();
    exported.ring = exported.ring.rotate().unwrap();
    let text = with_key(&exported.bundle(), &exported.answer(), &[]).prints();
    let signature = format!("signature: valid, by the key `{id}`");
    assert!(text.contains(&signature), "{text}");
    let other = exported.file("new.pem", exported.ring.active().public_key_pem());
    with_key(&exported.bundle(), &other, &[]).finds();
    with_key(
        &exported.bundle(),
        &other,
        &["--key", exported.answer().to_str().unwrap()],
    )
    .prints();
}

#[test]
fn without_a_key_a_bundle_is_not_verified() {
    let exported = export(3, 1);
    let text = verify(&exported.bundle(), &[]).finds();
    assert!(
        text.starts_with(
            "not verified: the signature was not checked; give a public key with `--key`, "
        ),
        "{text}"
    );
    assert!(
        text.contains("chain:     intact") && text.contains("signature: not checked"),
        "{text}"
    );
    let text = verify(&exported.bundle(), &["--chain-only"]).prints();
    assert!(
        text.starts_with("intact: the chain is unbroken; the signature was not checked\n"),
        "{text}"
    );
    let report = json(&verify(&exported.bundle(), &["--chain-only", "--json"]).prints());
    assert_eq!(
        (
            &report["verified"],
            &report["signature_valid"],
            &report["chain_integrity_ok"]
        ),
        (&json!(false), &json!(false), &json!(true))
    );
}

#[test]
fn control_characters_in_a_key_file_are_escaped() {
    let exported = export(2, 1);
    let answer = fs::read_to_string(exported.answer()).unwrap();
    let hostile = answer.replace(&exported.key_id(), "\\u001b[2J\\nverified");
    let keys = exported.file("hostile-keys.json", &hostile);
    let text = with_key(&exported.bundle(), &keys, &[]).prints();
    assert!(
        text.contains("valid, by the key `\\u{1b}[2J\\u{a}verified`\n"),
        "{text}"
    );
}

#[test]
fn a_revoked_key_is_ignored() {
    let exported = export(2, 1);
    let answer = fs::read_to_string(exported.answer()).unwrap();
    let revoked = exported.file("revoked.json", &answer.replace("active", "revoked"));
    let line = with_key(&exported.bundle(), &revoked, &[]).misuse();
    assert!(
        line.starts_with("no usable key: the key `sig_")
            && line.ends_with("` has the status `revoked`"),
        "{line}"
    );
    let other = KeyRing::in_memory().unwrap();
    let other = exported.file("other.pem", other.active().public_key_pem());
    let text = with_key(
        &exported.bundle(),
        &revoked,
        &["--key", other.to_str().unwrap()],
    )
    .finds();
    assert!(text.contains("  ignored:   the key `sig_"), "{text}");
}

#[test]
fn a_key_that_cannot_be_used_is_an_error_whatever_the_bundle() {
    let exported = export(2, 1);
    let folder = exported.folder.path().to_owned();
    let empty = exported.file("empty.json", r#"{"keys":[]}"#);
    let private = exported.file("private.pem", "-----BEGIN PRIVATE KEY-----\nhunter2\n");
    for key in [
        empty,
        private,
        exported.bundle(),
        folder.join("missing.pem"),
        folder,
    ] {
        let line = with_key(&exported.bundle(), &key, &[]).misuse();
        assert!(!line.contains("hunter2"), "{line}");
    }
    let line = with_key(&exported.bundle(), &exported.pem(), &["--chain-only"]).misuse();
    assert!(
        line.contains("`--chain-only` checks no signature, so it cannot be combined with `--key`"),
        "{line}"
    );
}
