//! Attacks by malformed or ambiguous tokens are refused: RFC 7515, RFC 7519, RFC 8725.

use ati_client::{Error, MAX_TOKEN_BYTES, SigningKey, Verifier, VerifyingKey, inspect};
use serde_json::json;

use crate::support::{HEADER, NOW, at, encode, forge, good, mac, sign, token, verify};

/// Whether verifying and inspecting both refuse the token as malformed.
pub(crate) fn is_malformed(token: &str) -> bool {
    matches!(verify(token), Err(Error::Malformed { .. }))
        && matches!(inspect(token), Err(Error::Malformed { .. }))
}

#[test]
fn a_token_has_three_parts() {
    let token = token(&good());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{token}")
    };
    for parts in [
        &[][..],
        &[header],
        &[header, payload],
        &[header, payload, signature, ""],
        &["", header, payload, signature],
        &[header, payload, signature, signature],
        &["", "", ""],
        &["", payload, signature],
    ] {
        assert!(is_malformed(&parts.join(".")), "{parts:?}");
    }
    // An encrypted token has five parts.
    assert!(is_malformed(
        &[header, payload, payload, payload, signature].join(".")
    ));
}

#[test]
fn an_empty_or_cut_signature_is_a_bad_one() {
    let token = token(&good());
    let (message, signature) = token.rsplit_once('.').unwrap();
    for signature in [
        "",
        &signature[..4],
        &signature[..40],
        &encode([0; 32]),
        &encode([0; 64]),
    ] {
        assert_eq!(
            verify(&format!("{message}.{signature}")),
            Err(Error::BadSignature)
        );
    }
    let longer = [mac(message), vec![0]].concat();
    assert_eq!(
        verify(&format!("{message}.{}", encode(longer))),
        Err(Error::BadSignature)
    );
}

#[test]
fn padding_is_refused_wherever_it_is() {
    let message = format!("{}.{}", encode(HEADER), encode(good().to_string()));
    let signed = sign(&message);
    assert!(verify(&signed).is_ok());
    assert!(is_malformed(&format!("{signed}=")));
    for message in [
        format!("{}=.{}", encode(HEADER), encode(good().to_string())),
        format!("{}.{}=", encode(HEADER), encode(good().to_string())),
    ] {
        assert!(is_malformed(&sign(&message)));
    }
}

#[test]
fn no_other_letters_stand_for_the_same_bytes() {
    let payload = good().to_string() + " ".repeat(4).as_str();
    for (header, payload) in [
        (HEADER.to_owned(), payload),
        (format!("{HEADER} "), good().to_string()),
    ] {
        let (header, payload) = (encode(header), encode(payload));
        let message = format!("{header}.{payload}");
        let token = sign(&message);
        assert!(verify(&token).is_ok());
        let signature = token.rsplit_once('.').unwrap().1;
        // The last letter of 32 bytes encodes four bits and two unused ones.
        let last = signature.chars().last().unwrap();
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for other in letters.chars().filter(|other| *other != last) {
            let changed = format!("{message}.{}{other}", &signature[..signature.len() - 1]);
            assert!(verify(&changed).is_err(), "{last} as {other}");
        }
    }
    // The same holds for the header and the payload, even if the signature covers that spelling.
    let odd = |part: &str| {
        let bits = part.len() % 4;
        assert!(
            bits == 2 || bits == 3,
            "a part without spare bits shows nothing"
        );
        let last = part.as_bytes()[part.len() - 1];
        format!("{}{}", &part[..part.len() - 1], char::from(last + 1))
    };
    let header = encode(HEADER.to_owned() + " ");
    let payload = encode("{}  ");
    assert!(is_malformed(&sign(&format!("{}.{payload}", odd(&header)))));
    assert!(is_malformed(&sign(&format!(
        "{}.{}",
        encode(HEADER),
        odd(&payload)
    ))));
}

#[test]
fn white_space_and_foreign_letters_are_refused() {
    let token = token(&good());
    for space in [
        " ", "\n", "\r\n", "\t", "\u{b}", "\u{a0}", "\0", "+", "/", "ä", "%2e",
    ] {
        for at in [0, 5, 40, token.len()] {
            let mut token = token.clone();
            token.insert_str(at, space);
            assert!(is_malformed(&token), "{space:?} at {at}");
        }
    }
    for prefix in ["Bearer ", "bearer "] {
        assert!(is_malformed(&format!("{prefix}{token}")));
    }
}

#[test]
fn a_token_has_at_most_8_kib() {
    assert_eq!(MAX_TOKEN_BYTES, 8192);
    let long = |bytes: usize| {
        // The signature and two dots take 45 letters. Four letters encode three bytes, so the
        // payload is filled up with spaces.
        let room = (bytes - encode(HEADER).len() - 45) * 3 / 4;
        let claims = good().to_string();
        let token = forge(HEADER, format!("{claims:room$}"));
        assert_eq!(token.len(), bytes);
        token
    };
    assert!(verify(&long(8192)).is_ok());
    assert_eq!(verify(&long(8193)), Err(Error::TooLong { bytes: 8193 }));
    assert_eq!(inspect(&long(8193)), Err(Error::TooLong { bytes: 8193 }));
    assert!(matches!(
        verify(&"a.".repeat(1 << 20)),
        Err(Error::TooLong { .. })
    ));
}

#[test]
fn the_key_fixes_the_algorithm() {
    let payload = good().to_string();
    for algorithm in [
        "none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "ES384", "PS256",
        "EdDSA", "hs256", "", "HS256 ", "dir",
    ] {
        let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
        let refused = Err(Error::WrongAlgorithm {
            expected: ati_client::Algorithm::Hs256,
        });
        let signed = forge(&header, &payload);
        assert_eq!(verify(&signed), refused, "{algorithm}");
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        assert_eq!(verify(&unsigned), refused, "{algorithm}");
    }
}

#[test]
fn the_public_key_is_no_secret() {
    let pem = include_str!("keys/p256.public.pem");
    let verifier = Verifier::builder(VerifyingKey::from_pem(pem.as_bytes()).unwrap())
        .build()
        .unwrap();
    for secret in [pem, pem.trim_end()] {
        let confused =
            SigningKey::from_hex(&base16ct::lower::encode_string(secret.as_bytes())).unwrap();
        let claims = ati_client::Claims::builder("agent-7")
            .issued_at(NOW)
            .build()
            .unwrap();
        let token = ati_client::issue(&claims, &confused).unwrap();
        assert_eq!(
            verifier.verify_at(&token, at(NOW)),
            Err(Error::WrongAlgorithm {
                expected: ati_client::Algorithm::Es256
            })
        );
        // With the header of the other algorithm, the signature has the wrong length.
        let (_, rest) = token.split_once('.').unwrap();
        let relabelled = format!("{}.{rest}", encode(r#"{"alg":"ES256","typ":"JWT"}"#));
        assert_eq!(
            verifier.verify_at(&relabelled, at(NOW)),
            Err(Error::BadSignature)
        );
    }
}

#[test]
fn a_claim_is_made_once() {
    let good = good().to_string();
    let rest = good.strip_prefix('{').unwrap();
    for first in [
        r#""sub":"agent-7""#,
        r#""sub":"root""#,
        r#""\u0073ub":"root""#,
        r#""exp":9999999999"#,
        r#""scope":"*""#,
        r#""aud":"x""#,
        r#""x":1,"x":1"#,
        r#""x":1,"\u0078":2"#,
        r#""x":{"y":1,"y":1}"#,
        r#""x":[[{"y":1,"y":1}]]"#,
    ] {
        assert!(
            is_malformed(&forge(HEADER, format!("{{{first},{rest}"))),
            "{first}"
        );
    }
    for ati in [
        r#"{"v":1,"v":1}"#,
        r#"{"v":1,"rate":{"tool:a":"1/s","tool:a":"9/s"}}"#,
        r#"{"v":1,"rate":{"tool:a":"1/s"},"rate":{}}"#,
        r#"{"v":1,"x":{"y":1,"y":1}}"#,
    ] {
        let token = forge(HEADER, format!("{{\"ati\":{ati},{rest}"));
        assert!(verify(&token).is_err() && inspect(&token).is_err(), "{ati}");
    }
}

#[test]
fn a_payload_is_one_json_object() {
    for payload in [
        "",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{",
        "{sub:1}",
        "{'sub':1}",
        "{\"sub\":\"\\ud800\"}",
        "{\"x\":01}",
        "{,}",
    ] {
        assert!(is_malformed(&forge(HEADER, payload)), "{payload}");
    }
    assert!(is_malformed(&forge(HEADER, b"{\"sub\":\"\xff\"}")));
    for after in ["\0", "x", "{}", "}", ","] {
        assert!(
            is_malformed(&forge(HEADER, format!("{}{after}", good()))),
            "{after:?}"
        );
    }
    assert!(is_malformed(&forge(HEADER, format!("\u{feff}{}", good()))));
}

#[test]
fn deep_and_huge_json_is_refused_and_nothing_breaks() {
    let rest = good().to_string();
    let rest = rest.strip_prefix('{').unwrap();
    for (open, close) in [("[", "]"), ("{\"x\":", "}")] {
        let deep = |depth: usize| {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            forge(HEADER, format!("{{\"x\":{value},{rest}"))
        };
        assert!(verify(&deep(50)).is_ok());
        assert!(is_malformed(&deep(700)));
        let unclosed = forge(HEADER, format!("{{\"x\":{}", open.repeat(900)));
        assert!(is_malformed(&unclosed));
        let header = forge(
            format!("{{\"alg\":\"HS256\",\"x\":{}", open.repeat(900)),
            "{}",
        );
        assert!(is_malformed(&header));
    }
    let many: String = (0..500).map(|n| format!("\"{n:x}\":0,")).collect();
    assert!(verify(&forge(HEADER, format!("{{{many}{rest}"))).is_ok());
}

#[test]
fn a_refusal_repeats_nothing_of_the_token() {
    let secret_words = ["agent-7", "tool:a", "hunter2"];
    for token in [
        crate::support::with("sub", json!(["hunter2"])),
        crate::support::with("aud", json!("hunter2")),
        crate::support::with("exp", json!(1)),
        crate::support::with("iat", json!("hunter2")),
        forge(r#"{"alg":"hunter2"}"#, good().to_string()),
        "hunter2".to_owned(),
        "hunter2.hunter2.hunter2".to_owned(),
    ] {
        let error = verify(&token).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(
                !secret_words.iter().any(|word| text.contains(word)),
                "{text}"
            );
            assert!(!text.contains(&token) && !text.contains('\n'), "{text}");
        }
    }
}
