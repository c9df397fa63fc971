//! Several keys at a time, and the rotation from one to the next.

use std::fs;
use std::path::Path;

use ati_client::{
    Algorithm, Claims, Error, ReplayGuard, SigningKey, VerifiedCache, Verifier, VerifyingKey,
    inspect, issue,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use crate::support::{NOW, SECRET, at, encode, forge, good, key, token};

const OTHER: &str = "c81f0e6b5f2c0a9d3e4b7a8190a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3";

fn other() -> SigningKey {
    SigningKey::from_hex(OTHER).unwrap()
}

fn es256() -> SigningKey {
    SigningKey::from_pem(include_bytes!("keys/p256.pkcs8.pem")).unwrap()
}

fn claims() -> Claims {
    let claims = Claims::builder("agent-7").issued_at(NOW);
    claims.jti("6c1f").build().unwrap()
}

fn issued(key: &SigningKey) -> String {
    issue(&claims(), key).unwrap()
}

fn verifier(keys: &[&SigningKey]) -> Verifier {
    let keys: Vec<VerifyingKey> = keys.iter().map(|key| key.verifying_key()).collect();
    Verifier::builder(keys).build().unwrap()
}

/// Verifies a token with these keys.
fn verified(token: &str, keys: &[&SigningKey]) -> Result<(), Error> {
    verifier(keys).verify_at(token, at(NOW)).map(drop)
}

/// A valid token, signed with [`SECRET`], whose header names this key.
fn naming(kid: &str) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string();
    forge(header, good().to_string())
}

#[test]
fn a_token_of_any_of_the_keys_is_good_whatever_their_order() {
    let (old, new, es256) = (key(), other(), es256());
    for keys in [
        [&old, &new, &es256],
        [&new, &es256, &old],
        [&es256, &old, &new],
    ] {
        for signing in keys {
            assert_eq!(verified(&issued(signing), &keys), Ok(()));
        }
    }
}

#[test]
fn a_token_of_a_key_that_was_removed_is_refused() {
    let (old, new) = (key(), other());
    assert_eq!(verified(&issued(&old), &[&new, &old]), Ok(()));
    assert_eq!(verified(&issued(&old), &[&new]), Err(Error::BadSignature));
    let removed = Error::WrongAlgorithm {
        expected: Algorithm::Hs256,
    };
    assert_eq!(verified(&issued(&es256()), &[&new, &old]), Err(removed));
}

#[test]
fn a_verifier_without_keys_is_not_built() {
    let none: Vec<VerifyingKey> = Vec::new();
    assert_eq!(
        Verifier::builder(none).build().unwrap_err(),
        Error::NoVerifyingKey
    );
}

#[test]
fn only_a_wrong_signature_leads_to_the_next_key() {
    let keys = [&key(), &other()];
    let refused = |claim: &str, value: serde_json::Value| {
        let mut claims = good();
        claims[claim] = value;
        verified(&token(&claims), &keys).unwrap_err()
    };
    assert_eq!(refused("aud", json!("other")), Error::WrongAudience);
    assert!(matches!(refused("exp", json!(1)), Error::Expired { .. }));
    assert!(matches!(refused("sub", json!(1)), Error::WrongType { .. }));
    let forged = "e30.e30.";
    assert!(matches!(
        verified(forged, &keys),
        Err(Error::Malformed { .. })
    ));
}

#[test]
fn each_key_verifies_in_its_own_way_only() {
    let (secret, es256) = (key(), es256());
    let keys = [&secret, &es256];
    // The public key is used as a secret, beside a real secret and the key itself.
    let pem = include_str!("keys/p256.public.pem");
    let confused = SigningKey::from_hex(&base16ct::lower::encode_string(pem.as_bytes())).unwrap();
    let token = issued(&confused);
    assert_eq!(verified(&token, &keys), Err(Error::BadSignature));
    let (_, rest) = token.split_once('.').unwrap();
    let relabelled = format!("{}.{rest}", encode(r#"{"alg":"ES256","typ":"JWT"}"#));
    assert_eq!(verified(&relabelled, &keys), Err(Error::BadSignature));
    for algorithm in ["none", "HS384", "HS512", "RS256", "hs256", ""] {
        let header = json!({"alg": algorithm}).to_string();
        assert_eq!(
            verified(&forge(header, good().to_string()), &keys),
            Err(Error::WrongAlgorithm {
                expected: Algorithm::Hs256
            }),
            "{algorithm}"
        );
    }
}

#[test]
fn a_key_with_an_id_issues_it_and_its_verifying_key_has_it() {
    let named = key().with_id("2026-05").unwrap();
    let again = named.clone().with_id("2026-11").unwrap();
    assert_eq!((named.id(), again.id()), (Some("2026-05"), Some("2026-11")));
    assert_eq!(again.verifying_key().id(), Some("2026-11"));
    assert_eq!((key().id(), key().verifying_key().id()), (None, None));

    let issued = issued(&again);
    let header = issued.split('.').next().unwrap();
    assert_eq!(
        header,
        encode(r#"{"alg":"HS256","typ":"JWT","kid":"2026-11"}"#)
    );
    assert_eq!(verified(&issued, &[&again]), Ok(()));
    assert_eq!(inspect(&issued).unwrap().algorithm(), "HS256");
    // A verifier with the key under no id accepts the token too.
    assert_eq!(verified(&issued, &[&key()]), Ok(()));
}

#[test]
fn an_id_is_not_empty_and_may_be_any_text() {
    let empty = key().with_id("").unwrap_err();
    assert!(matches!(empty, Error::BadKey { .. }), "{empty}");
    let empty = key().verifying_key().with_id("").unwrap_err();
    assert!(matches!(empty, Error::BadKey { .. }), "{empty}");
    for id in ["\"", "\\", "ключ", "\u{1b}[31m", "../../etc", "a\nb"] {
        let named = key().with_id(id).unwrap();
        assert_eq!(verified(&issued(&named), &[&other(), &named]), Ok(()));
        let shown = format!("{named:?} {:?}", named.verifying_key());
        assert!(!shown.contains(char::is_control), "{shown}");
    }
    let long = key().with_id("x".repeat(8192)).unwrap();
    assert!(matches!(
        issue(&claims(), &long),
        Err(Error::TooLong { .. })
    ));
}

#[test]
fn a_kid_picks_its_key_and_no_other() {
    let (old, new) = (
        key().with_id("old").unwrap(),
        other().with_id("new").unwrap(),
    );
    assert_eq!(verified(&naming("old"), &[&new, &old]), Ok(()));
    // The token is signed with the old key, and names the new one.
    assert_eq!(
        verified(&naming("new"), &[&new, &old]),
        Err(Error::BadSignature)
    );
    // A key without an id is not tried for a `kid` that another key has.
    assert_eq!(
        verified(&naming("new"), &[&new, &key()]),
        Err(Error::BadSignature)
    );
    // The selected key determines the algorithm.
    let named = es256().with_id("new").unwrap();
    assert_eq!(
        verified(&naming("new"), &[&named, &old]),
        Err(Error::WrongAlgorithm {
            expected: Algorithm::Es256
        })
    );
}

#[test]
fn a_kid_of_none_of_the_keys_is_refused_if_each_has_an_id() {
    let (old, new) = (
        key().with_id("old").unwrap(),
        other().with_id("new").unwrap(),
    );
    for kid in ["older", "", "OLD", "old ", "old\0", "*"] {
        assert_eq!(
            verified(&naming(kid), &[&new, &old]),
            Err(Error::UnknownKey),
            "{kid:?}"
        );
    }
}

#[test]
fn a_kid_of_none_of_the_keys_may_be_that_of_a_key_without_an_id() {
    let new = other().with_id("new").unwrap();
    assert_eq!(verified(&naming("theirs"), &[&new, &key()]), Ok(()));
    assert_eq!(verified(&naming("theirs"), &[&other(), &key()]), Ok(()));
    // The keys with an id are not tried.
    let old = key().with_id("old").unwrap();
    assert_eq!(
        verified(&naming("theirs"), &[&old, &other()]),
        Err(Error::BadSignature)
    );
}

#[test]
fn a_token_without_a_kid_is_tried_with_keys_that_have_ids() {
    let (old, new) = (
        key().with_id("old").unwrap(),
        other().with_id("new").unwrap(),
    );
    assert_eq!(verified(&issued(&key()), &[&new, &old]), Ok(()));
}

#[test]
fn a_cached_token_is_refused_once_its_key_is_removed() {
    let (old, new) = (key(), other());
    let with_cache = |keys: Vec<VerifyingKey>| {
        Verifier::builder(keys)
            .cache(VerifiedCache::new(10))
            .build()
            .unwrap()
    };
    let token = issued(&old);
    let both = with_cache(vec![new.verifying_key(), old.verifying_key()]);
    for _ in 0..2 {
        assert!(both.verify_at(&token, at(NOW)).is_ok());
    }
    assert_eq!(both.cache().unwrap().len(), 1);
    let one = with_cache(vec![new.verifying_key()]);
    for _ in 0..2 {
        assert_eq!(one.verify_at(&token, at(NOW)), Err(Error::BadSignature));
    }
    assert_eq!(one.cache().unwrap().len(), 0);
}

#[test]
fn a_cache_keeps_the_tokens_of_each_key_apart() {
    let (old, new) = (key(), other());
    let both = Verifier::builder([new.verifying_key(), old.verifying_key()])
        .cache(VerifiedCache::new(10))
        .build()
        .unwrap();
    let tokens = [&old, &new].map(issued);
    for _ in 0..2 {
        for token in &tokens {
            assert!(both.verify_at(token, at(NOW)).is_ok());
        }
    }
    assert_eq!(both.cache().unwrap().len(), 2);
}

#[test]
fn one_id_under_two_keys_is_used_once() {
    let (old, new) = (key(), other().with_id("new").unwrap());
    let verifier = Verifier::builder([new.verifying_key(), old.verifying_key()])
        .replay_guard(ReplayGuard::new(10))
        .cache(VerifiedCache::new(10))
        .build()
        .unwrap();
    assert!(verifier.verify_at(&issued(&old), at(NOW)).is_ok());
    for token in [issued(&new), issued(&old)] {
        assert_eq!(verifier.verify_at(&token, at(NOW)), Err(Error::Replayed));
    }
}

/// Copies keys of the tests into a directory, each under the given name.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokens/keys");
    for (name, key) in files {
        fs::copy(keys.join(key), directory.path().join(name)).unwrap();
    }
    directory
}

#[test]
fn a_directory_of_keys_is_read_with_the_newest_name_first() {
    let directory = directory(&[
        ("2026-05.pem", "p256.public.pem"),
        ("2026-11.pem", "other.public.pem"),
        ("2025-11.pem", "other.public.pem"),
    ]);
    // Kubernetes uses such names for the targets of its links.
    fs::create_dir(directory.path().join("..data")).unwrap();
    fs::write(directory.path().join(".hidden"), "no key").unwrap();
    let keys = VerifyingKey::from_pem_directory(directory.path()).unwrap();
    let ids: Vec<_> = keys.iter().map(|key| key.id().unwrap()).collect();
    assert_eq!(ids, ["2026-11", "2026-05", "2025-11"]);

    let verifier = Verifier::builder(keys).build().unwrap();
    for (id, is_good) in [
        (None, true),
        (Some("2026-05"), true),
        (Some("2026-11"), false),
    ] {
        let key = match id {
            Some(id) => es256().with_id(id).unwrap(),
            None => es256(),
        };
        let verified = verifier.verify_at(&issued(&key), at(NOW));
        assert_eq!(verified.is_ok(), is_good, "{id:?}");
    }
}

#[test]
fn a_directory_of_private_keys_issues_with_the_newest() {
    let directory = directory(&[
        ("2026-05.pem", "p256.sec1.pem"),
        ("2026-11.pem", "p256.pkcs8.pem"),
    ]);
    let keys = SigningKey::from_pem_directory(directory.path()).unwrap();
    let ids: Vec<_> = keys.iter().map(|key| key.id().unwrap()).collect();
    assert_eq!(ids, ["2026-11", "2026-05"]);
}

#[test]
fn no_file_of_a_directory_is_left_out_silently() {
    let good = ("2026-05.pem", "p256.public.pem");
    for (name, key) in [
        ("2026-11.pem", "p256.pkcs8.pem"),
        ("2026-11.pem", "p384.public.pem"),
        ("2026-11.pem", "../support.rs"),
        ("2026-11.pem.bak", "other.public.pem"),
        ("2026-11.key", "other.public.pem"),
        ("2026-11.PEM", "other.public.pem"),
        ("README", "../support.rs"),
    ] {
        let directory = directory(&[good, (name, key)]);
        let refused = VerifyingKey::from_pem_directory(directory.path()).unwrap_err();
        assert!(
            matches!(refused, Error::KeyFile { .. }),
            "{name}: {refused}"
        );
    }
    let below = directory(&[good]);
    fs::create_dir(below.path().join("2026-11.pem")).unwrap();
    let refused = VerifyingKey::from_pem_directory(below.path()).unwrap_err();
    assert!(matches!(refused, Error::KeyFile { .. }), "{refused}");
    let empty = directory(&[]);
    let refused = VerifyingKey::from_pem_directory(empty.path()).unwrap_err();
    assert!(matches!(refused, Error::BadKey { .. }), "{refused}");
    let missing = empty.path().join("missing");
    let refused = VerifyingKey::from_pem_directory(missing).unwrap_err();
    assert!(matches!(refused, Error::UnreadableKey { .. }), "{refused}");
}

/// A key under test: the number of its secret, and its id.
fn any_key() -> impl Strategy<Value = SigningKey> {
    let id = select(vec![None, Some("a"), Some("b")]);
    (select(vec![SECRET, OTHER]), id).prop_map(|(secret, id)| {
        let key = SigningKey::from_hex(secret).unwrap();
        match id {
            Some(id) => key.with_id(id).unwrap(),
            None => key,
        }
    })
}

proptest! {
    /// The rule in the documentation of `Verifier`, implemented independently.
    #[test]
    fn a_token_is_tried_with_the_keys_of_its_kid(keys in vec(any_key(), 1..5), signing in any_key()) {
        let token = issued(&signing);
        let same = |key: &SigningKey| issued(&key.clone().with_id("x").unwrap())
            == issued(&signing.clone().with_id("x").unwrap());
        let of_kid: Vec<_> = keys.iter().filter(|key| key.id() == signing.id()).collect();
        let without_id: Vec<_> = keys.iter().filter(|key| key.id().is_none()).collect();
        let tried: Vec<&SigningKey> = match signing.id() {
            None => keys.iter().collect(),
            Some(_) if !of_kid.is_empty() => of_kid,
            Some(_) => without_id,
        };
        let expected = if tried.is_empty() {
            Err(Error::UnknownKey)
        } else if tried.iter().any(|key| same(key)) {
            Ok(())
        } else {
            Err(Error::BadSignature)
        };
        prop_assert_eq!(verified(&token, &keys.iter().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn a_changed_token_is_refused_whatever_the_keys(
        keys in vec(any_key(), 1..4), signing in any_key(), place in any::<Index>(), letter in "[A-Za-z0-9_-]",
    ) {
        let token = issued(&signing);
        let place = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(place..=place, &letter);
        prop_assume!(changed != token);
        prop_assert!(verified(&changed, &keys.iter().collect::<Vec<_>>()).is_err());
    }
}
