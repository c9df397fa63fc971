//! A signature verifies in its forms, over exactly what was signed, under exactly its key.

use atlasent::approval::{Reason, signed_text, verify_artifact};
use base64ct::{Base64, Base64Url, Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, SigningKey, Verifier as _};
use serde_json::{Value, json};

use crate::case::{Case, Signer, now};

fn with_signature(case: &Case, change: impl Fn(&str) -> String) -> Option<Reason> {
    let mut artifact = case.signed();
    artifact["signature"] = json!(change(artifact["signature"].as_str().unwrap()));
    verify_artifact(&artifact, &case.expected, &case.issuers(), now()).err()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn ed25519() -> Case {
    Case::numbered(0, "ada", Signer::Ed25519([1; 32]), Signer::Hs256([2; 32]))
}

#[test]
fn hs256_is_hex_and_nothing_else() {
    let case = Case::new();
    assert_eq!(with_signature(&case, str::to_owned), None);
    assert_eq!(with_signature(&case, str::to_uppercase), None);
    let refused: [&dyn Fn(&str) -> String; 8] = [
        &|_| String::new(),
        &|hex| format!(" {hex}"),
        &|hex| format!("{hex}\n"),
        &|hex| format!("0x{hex}"),
        &|hex| hex[..62].to_owned(),
        &|hex| format!("{hex}00"),
        &|hex| Base64UrlUnpadded::encode_string(&bytes(hex)),
        &|hex| hex.replace(|digit: char| digit.is_ascii_digit(), "g"),
    ];
    for change in refused {
        assert_eq!(
            with_signature(&case, change),
            Some(Reason::InvalidSignature)
        );
    }
}

#[test]
fn ed25519_is_hex_or_base64url_padded_or_not() {
    let case = ed25519();
    let accepted: [&dyn Fn(&str) -> String; 4] = [
        &str::to_owned,
        &str::to_uppercase,
        &|hex| Base64UrlUnpadded::encode_string(&bytes(hex)),
        &|hex| Base64Url::encode_string(&bytes(hex)),
    ];
    for change in accepted {
        assert_eq!(with_signature(&case, change), None);
    }
    let unpadded = |hex: &str| Base64UrlUnpadded::encode_string(&bytes(hex));
    let refused: [&dyn Fn(&str) -> String; 9] = [
        &|_| String::new(),
        &|hex| format!("{hex}00"),
        &|hex| hex[..126].to_owned(),
        &|hex| format!("{}=", unpadded(hex)),
        &|hex| format!("{}===", unpadded(hex)),
        &|hex| format!("{}\n", unpadded(hex)),
        &|hex| format!("{}AA", unpadded(hex)),
        // The last character has four bits beyond the last byte.
        &|hex| {
            let (text, last) = (unpadded(hex), unpadded(hex).pop().unwrap());
            let next = char::from_u32(u32::from(last) + 1).unwrap();
            format!("{}{next}", &text[..85])
        },
        &|hex| Base64::encode_string(&bytes(hex)).replace(['A', 'a', 'Q', 'w'], "+"),
    ];
    for change in refused {
        assert_eq!(
            with_signature(&case, change),
            Some(Reason::InvalidSignature)
        );
    }
}

#[test]
fn a_signature_with_the_scalar_of_another_is_refused() {
    // S + L signs the same under a lax verifier.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let malleable = |hex: &str| {
        let mut signature = bytes(hex);
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            carry = sum >> 8;
            *byte = sum.to_le_bytes()[0];
        }
        crate::case::hex(&signature)
    };
    assert_eq!(
        with_signature(&ed25519(), malleable),
        Some(Reason::InvalidSignature)
    );
}

#[test]
fn a_signature_of_small_order_is_refused() {
    // The key's owner can make it for any text: R is the neutral element, and S is the hash times
    // the private scalar. A lax verifier accepts it.
    let signature = "0100000000000000000000000000000000000000000000000000000000000000\
        459fdff7dedb3c2ce926e64292f57778691ee30f2335457d89df32ab1668de0f";
    let (case, Signer::Ed25519(seed)) = (ed25519(), ed25519().signer) else {
        panic!("the case signs with Ed25519");
    };
    let lax = SigningKey::from_bytes(&seed).verifying_key();
    let text = signed_text(&case.signed());
    let parsed = Signature::from_slice(&bytes(signature)).unwrap();
    assert!(lax.verify(text.as_bytes(), &parsed).is_ok());
    let reason = with_signature(&case, |_| signature.to_owned());
    assert_eq!(reason, Some(Reason::InvalidSignature));
}

#[test]
fn the_key_chooses_the_algorithm() {
    // The public key of Ed25519 as the secret of HS256, and the reverse.
    let mut case = ed25519();
    let public = case.trusted_key()["key"].as_str().unwrap().to_owned();
    case.signer = Signer::Hs256(bytes(&public).try_into().unwrap());
    assert_eq!(case.verdict(), Err(Reason::InvalidSignature));
    let mut case = Case::new();
    case.signer = Signer::Ed25519([1; 32]);
    assert_eq!(case.verdict(), Err(Reason::InvalidSignature));
}

#[test]
fn an_identity_issuer_signs_no_approval_and_the_reverse() {
    let mut case = Case::new();
    case.artifact["issuer"] = json!({"type": "oidc", "issuer_id": "idp-0", "kid": "k"});
    case.signer = case.identity_signer.clone();
    assert_eq!(case.verdict(), Err(Reason::UntrustedIssuer));
    let mut case = Case::new();
    case.with_assertion(|it| {
        it["issuer"] = json!({"type": "oidc", "issuer_id": "svc-0", "kid": "k"});
    });
    case.identity_signer = case.signer.clone();
    assert_eq!(case.verdict(), Err(Reason::UntrustedIdentityIssuer));
}

#[test]
fn no_changed_byte_verifies() {
    for case in [Case::new(), ed25519()] {
        let (signed, trusted) = (case.signed(), case.issuers());
        let text = signed.to_string();
        for at in 0..text.len() {
            for bit in [0, 5] {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = serde_json::from_slice::<Value>(&changed) else {
                    continue;
                };
                if is_signature_in_another_case(&signed, &changed) {
                    continue;
                }
                let verified = verify_artifact(&changed, &case.expected, &trusted, now());
                assert!(verified.is_err(), "{changed}");
            }
        }
    }
}

/// Hex counts in either case. The signature of the assertion is itself signed.
fn is_signature_in_another_case(signed: &Value, changed: &Value) -> bool {
    let mut lower = changed.clone();
    lower["signature"] = json!(
        changed["signature"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase()
    );
    lower == *signed
}

#[test]
fn nothing_that_was_signed_can_be_left_out_or_added() {
    let case = Case::new();
    let (signed, trusted) = (case.signed(), case.issuers());
    let check = |changed: &Value| verify_artifact(changed, &case.expected, &trusted, now());
    for pointer in [
        "",
        "/reviewer",
        "/issuer",
        "/identity_assertion",
        "/identity_assertion/subject",
        "/identity_assertion/binding",
        "/identity_assertion/issuer",
    ] {
        let members = signed.pointer(pointer).unwrap().as_object().unwrap();
        for member in members.keys() {
            let mut changed = signed.clone();
            changed
                .pointer_mut(pointer)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(member);
            assert!(check(&changed).is_err(), "{pointer}/{member}");
        }
    }
    let mut changed = signed.clone();
    changed["reviewer"]["roles"]
        .as_array_mut()
        .unwrap()
        .push(json!("admin"));
    assert_eq!(check(&changed).err(), Some(Reason::InvalidSignature));
}
