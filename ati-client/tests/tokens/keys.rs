//! Which keys are accepted, and that a key verifies its own tokens only.

use ati_client::{Algorithm, Claims, Error, SigningKey, Verifier, VerifyingKey, issue};

use crate::support::{SECRET, key};

macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!("keys/", $name, ".pem")).as_slice()
    };
}

fn verified_by(token: &str, key: VerifyingKey) -> Result<Claims, Error> {
    Verifier::builder(key).build().unwrap().verify(token)
}

#[test]
fn a_secret_is_hex_of_32_bytes_or_more() {
    for secret in [SECRET, &SECRET.to_uppercase(), &SECRET.repeat(4)] {
        assert!(SigningKey::from_hex(secret).is_ok());
        assert!(VerifyingKey::from_hex(secret).is_ok());
    }
    for secret in [
        "".to_owned(),
        SECRET[1..].to_owned(),
        format!("{SECRET} "),
        format!("{SECRET}\n"),
        format!("0x{SECRET}"),
        SECRET.replace('5', " "),
        SECRET.replace('5', "g"),
        SECRET.replace('5', "ä"),
    ] {
        for refusal in [
            SigningKey::from_hex(&secret).map(drop),
            SigningKey::from_hex_of_any_length(&secret).map(drop),
            VerifyingKey::from_hex(&secret).map(drop),
            VerifyingKey::from_hex_of_any_length(&secret).map(drop),
        ] {
            assert!(matches!(refusal, Err(Error::BadSecret { .. })), "{secret}");
        }
    }
}

#[test]
fn a_short_secret_is_taken_by_name_only() {
    let short = &SECRET[2..];
    assert_eq!(
        SigningKey::from_hex(short).unwrap_err(),
        Error::WeakSecret { bytes: 31 }
    );
    assert_eq!(
        VerifyingKey::from_hex("00").unwrap_err(),
        Error::WeakSecret { bytes: 1 }
    );
    let key = SigningKey::from_hex_of_any_length(short).unwrap();
    let token = issue(&Claims::builder("agent-7").build().unwrap(), &key).unwrap();
    let same = VerifyingKey::from_hex_of_any_length(&short.to_uppercase()).unwrap();
    assert!(verified_by(&token, same).is_ok());
}

#[test]
fn both_forms_of_a_private_key_issue_what_its_public_key_verifies() {
    let public = || VerifyingKey::from_pem(pem!("p256.public")).unwrap();
    let claims = Claims::builder("agent-7").build().unwrap();
    for pem in [pem!("p256.pkcs8"), pem!("p256.sec1")] {
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.algorithm(), Algorithm::Es256);
        let token = issue(&claims, &key).unwrap();
        assert_eq!(
            token.rsplit_once('.').unwrap().1.len(),
            86,
            "r and s, 32 bytes each"
        );
        assert_eq!(verified_by(&token, public()).unwrap(), claims);
        assert_eq!(verified_by(&token, key.verifying_key()).unwrap(), claims);
    }
}

#[test]
fn a_key_is_found_in_what_openssl_writes_around_it() {
    assert!(SigningKey::from_pem(pem!("with-parameters.sec1")).is_ok());
    let text = String::from_utf8_lossy(pem!("p256.public"));
    for text in [
        text.replace('\n', "\r\n"),
        format!("a comment\n{text}\n\n"),
        text.trim_end().to_owned(),
    ] {
        assert!(VerifyingKey::from_pem(text.as_bytes()).is_ok());
    }
}

#[test]
fn a_text_holds_one_key_of_a_kind() {
    let both = [pem!("p256.public"), pem!("other.public")].concat();
    let refusal = VerifyingKey::from_pem(&both).unwrap_err();
    assert!(matches!(refusal, Error::BadKey { .. }), "{refusal}");
    let both = [pem!("p256.pkcs8"), pem!("p256.sec1")].concat();
    let refusal = SigningKey::from_pem(&both).unwrap_err();
    assert!(matches!(refusal, Error::BadKey { .. }), "{refusal}");
    // A text with one private key and one public key is accepted.
    let halves = [pem!("p256.pkcs8"), pem!("p256.public")].concat();
    assert!(SigningKey::from_pem(&halves).is_ok());
    assert!(VerifyingKey::from_pem(&halves).is_ok());
}

#[test]
fn no_other_key_is_taken() {
    for pem in [
        pem!("p384.pkcs8"),
        pem!("secp256k1.sec1"),
        pem!("ed25519.pkcs8"),
        pem!("rsa"),
        pem!("encrypted.pkcs8"),
        pem!("without-public.sec1"),
        pem!("without-public.pkcs8"),
        pem!("p256.public"),
        b"",
        SECRET.as_bytes(),
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n",
        &pem!("p256.pkcs8")[..200],
    ] {
        let refusal = SigningKey::from_pem(pem).unwrap_err();
        assert!(matches!(refusal, Error::BadKey { .. }), "{refusal}");
    }
    for pem in [
        pem!("p384.public"),
        pem!("ed25519.public"),
        pem!("compressed.public"),
        pem!("p256.pkcs8"),
        pem!("p256.sec1"),
        b"",
        &pem!("p256.public")[..120],
    ] {
        let refusal = VerifyingKey::from_pem(pem).unwrap_err();
        assert!(matches!(refusal, Error::BadKey { .. }), "{refusal}");
    }
}

#[test]
fn a_key_of_another_curve_is_called_that() {
    for pem in [
        pem!("secp256k1.sec1"),
        pem!("secp256k1.pkcs8"),
        pem!("p384.pkcs8"),
        pem!("ed25519.pkcs8"),
    ] {
        let refusal = SigningKey::from_pem(pem).unwrap_err().to_string();
        assert!(
            refusal.ends_with("it is not on the curve P-256, which ES256 requires"),
            "{refusal}"
        );
    }
}

#[test]
fn a_damaged_key_is_refused_when_it_is_loaded() {
    // Changes one letter: in the scalar of the private key, and in the point of the public key.
    let damage = |pem: &[u8], line: usize| {
        let mut lines: Vec<String> = String::from_utf8_lossy(pem)
            .lines()
            .map(str::to_owned)
            .collect();
        let letter = if lines[line].as_bytes()[60] == b'A' {
            "B"
        } else {
            "A"
        };
        lines[line].replace_range(60..61, letter);
        lines.join("\n").into_bytes()
    };
    let private = damage(pem!("p256.pkcs8"), 1);
    assert_eq!(
        SigningKey::from_pem(&private).unwrap_err().to_string(),
        "the key is not usable: its private and public halves do not belong together"
    );
    let public = damage(pem!("p256.public"), 1);
    assert_eq!(
        VerifyingKey::from_pem(&public).unwrap_err().to_string(),
        "the key is not usable: it is not a point of P-256"
    );
}

#[test]
fn a_token_of_another_key_is_refused() {
    let claims = Claims::builder("agent-7").build().unwrap();
    let es256 = SigningKey::from_pem(pem!("p256.pkcs8")).unwrap();
    let other = VerifyingKey::from_pem(pem!("other.public")).unwrap();
    let (by_secret, by_key) = (
        issue(&claims, &key()).unwrap(),
        issue(&claims, &es256).unwrap(),
    );

    assert_eq!(verified_by(&by_key, other), Err(Error::BadSignature));
    let reversed: String = SECRET.chars().rev().collect();
    assert_eq!(
        verified_by(&by_secret, VerifyingKey::from_hex(&reversed).unwrap()),
        Err(Error::BadSignature)
    );
    // HMAC pads a short key with zeros, so appended zeros leave the key the same. Other
    // appended bytes change it.
    let longer = VerifyingKey::from_hex(&format!("{SECRET}01")).unwrap();
    assert_eq!(verified_by(&by_secret, longer), Err(Error::BadSignature));

    assert!(matches!(
        verified_by(&by_secret, es256.verifying_key()),
        Err(Error::WrongAlgorithm { .. })
    ));
    assert!(matches!(
        verified_by(&by_key, key().verifying_key()),
        Err(Error::WrongAlgorithm { .. })
    ));
}

#[test]
fn an_ecdsa_signature_is_raw_and_within_its_range() {
    let key = SigningKey::from_pem(pem!("p256.pkcs8")).unwrap();
    let token = issue(&Claims::builder("agent-7").build().unwrap(), &key).unwrap();
    let message = token.rsplit_once('.').unwrap().0;
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order = base16ct::lower::decode_vec(order).unwrap();
    let one = [vec![0; 31], vec![1]].concat();
    // Java accepted a signature of all zeros (CVE-2022-21449).
    for (r, s) in [
        (&[0; 32][..], &[0; 32][..]),
        (&order, &one),
        (&one, &order),
        (&order, &order),
        (&[255; 32], &[255; 32]),
    ] {
        let signature = crate::support::encode([r, s].concat());
        let forged = format!("{message}.{signature}");
        assert_eq!(
            verified_by(&forged, key.verifying_key()),
            Err(Error::BadSignature)
        );
    }
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let es256 = SigningKey::from_pem(pem!("p256.pkcs8")).unwrap();
    assert_eq!(format!("{:?}", key()), "SigningKey(HS256, [hidden])");
    assert_eq!(
        format!("{:?}", key().verifying_key()),
        "VerifyingKey(HS256, [hidden])"
    );
    assert_eq!(format!("{es256:?}"), "SigningKey(ES256, [hidden])");
    let verifier = Verifier::builder(key().verifying_key()).build().unwrap();
    assert!(!format!("{verifier:?}").contains(&SECRET[..6]));
}
