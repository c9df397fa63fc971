//! Properties that hold for generated tokens, keys and scopes.

use ati_client::{
    Claims, RateSpec, SigningKey, Verifier, check_scope, inspect, issue, matches_wildcard,
};
use proptest::collection::{hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use regex::Regex;

use crate::support::{HEADER, NOW, at, forge, key, rate_of, verifier};

fn es256() -> SigningKey {
    SigningKey::from_pem(include_bytes!("keys/p256.pkcs8.pem")).unwrap()
}

fn rate() -> impl Strategy<Value = RateSpec> {
    rate_of(any::<u64>())
}

prop_compose! {
    fn claims()(
        sub in "\\PC{1,40}|.{1,20}",
        scopes in vec("(tool:|skill:)?[a-z*:_-]{1,12}", 0..8),
        ttl in 0u64..100_000,
        issuer in option::of("\\PC{0,20}"),
        job in option::of("\\PC{0,20}"),
        rates in hash_map("[a-z:*]{1,10}", rate(), 0..4),
    ) -> Claims {
        let mut claims = Claims::builder(sub).issued_at(NOW).expires_at(NOW + ttl).scopes(scopes);
        claims = match issuer {
            Some(issuer) => claims.issuer(issuer),
            None => claims.no_issuer(),
        };
        if let Some(job) = job {
            claims = claims.job_id(job);
        }
        for (pattern, rate) in rates {
            claims = claims.rate(pattern, rate);
        }
        claims.build().unwrap()
    }
}

/// Generates letters of a token, and letters that no token may have.
fn letter() -> impl Strategy<Value = char> {
    prop_oneof![
        "[A-Za-z0-9_.=+/ -]".prop_map(|letter| letter.chars().next().unwrap()),
        any::<char>()
    ]
}

proptest! {
    #[test]
    fn verified_claims_are_the_issued_ones(claims in claims()) {
        for key in [key(), es256()] {
            let verifier = Verifier::builder(key.verifying_key()).build().unwrap();
            let token = issue(&claims, &key).unwrap();
            prop_assert_eq!(&verifier.verify_at(&token, at(NOW)).unwrap(), &claims);
            let unverified = inspect(&token).unwrap();
            prop_assert_eq!(unverified.to_json(), claims.to_json());
        }
    }

    #[test]
    fn a_token_with_one_letter_changed_is_refused(
        claims in claims(), place in any::<prop::sample::Index>(), letter in letter(), by_secret: bool,
    ) {
        let key = if by_secret { key() } else { es256() };
        let verifier = Verifier::builder(key.verifying_key()).build().unwrap();
        let token = issue(&claims, &key).unwrap();
        let place = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
        prop_assume!(changed != token);
        prop_assert!(verifier.verify_at(&changed, at(NOW)).is_err());
    }

    #[test]
    fn a_token_with_a_letter_more_or_less_is_refused(
        claims in claims(), place in any::<prop::sample::Index>(), letter in letter(),
    ) {
        let token = issue(&claims, &key()).unwrap();
        let place = place.index(token.len());
        let mut longer = token.clone();
        longer.insert(place, letter);
        prop_assert!(verifier().verify_at(&longer, at(NOW)).is_err());
        let mut shorter = token.clone();
        shorter.remove(place);
        prop_assert!(verifier().verify_at(&shorter, at(NOW)).is_err());
    }

    #[test]
    fn nothing_makes_it_panic(text in ".*", bytes in vec(any::<u8>(), 0..200), header in vec(any::<u8>(), 0..100)) {
        let _ = verifier().verify_at(&text, at(NOW));
        let _ = inspect(&text);
        for token in [forge(HEADER, &bytes), forge(&header, &bytes)] {
            let _ = verifier().verify_at(&token, at(NOW));
            let _ = inspect(&token);
        }
    }

    #[test]
    fn whatever_is_verified_can_be_inspected_and_says_the_same(json in json()) {
        let token = forge(HEADER, json);
        if let Ok(claims) = verifier().verify_at(&token, at(NOW)) {
            let unverified = inspect(&token).unwrap();
            prop_assert_eq!(unverified.to_json(), claims.to_json());
        }
    }

    #[test]
    fn a_wildcard_is_a_regular_expression(name in "[ab*:_é.]{0,8}", pattern in "[ab*:_é.]{0,6}\\*{0,2}") {
        prop_assert_eq!(matches_wildcard(&name, &pattern), reference(&pattern).is_match(&name));
    }

    #[test]
    fn a_scope_is_covered_under_one_of_its_two_names(
        name in "[ab_:]{0,6}", pattern in "tool:[ab_:]{0,6}\\*?", prefix in "(tool:|skill:|t)",
    ) {
        let required = format!("{prefix}{name}");
        let older = (prefix == "tool:").then(|| format!("tool:{}", name.replacen(':', "_", 1)));
        let expression = reference(&pattern);
        let covered = expression.is_match(&required) || older.is_some_and(|older| expression.is_match(&older));
        prop_assert_eq!(check_scope(&required, [pattern.as_str()]), Ok(covered));
    }

    #[test]
    fn a_rate_reads_as_it_is_written(rate in rate()) {
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
    }
}

/// The rule of the contract as a regular expression.
fn reference(pattern: &str) -> Regex {
    let literal = match pattern.strip_suffix('*') {
        Some(prefix) => format!("{}.*", regex::escape(prefix)),
        None => regex::escape(pattern),
    };
    // A pattern that ends in `*` also covers the name with a literal `*`, as the expression does.
    Regex::new(&format!("(?s)^{literal}$")).unwrap()
}

/// Generates known claims of any type, repeated ones included.
fn json() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(NOW.to_string()),
        Just("\"ati-proxy\"".to_owned()),
        Just("{\"v\":1}".to_owned()),
        Just("[\"ati-proxy\"]".to_owned()),
        Just("null".to_owned()),
        Just("{\"x\":1,\"x\":1}".to_owned()),
    ];
    let name = prop::sample::select(vec![
        "sub", "aud", "iat", "exp", "scope", "iss", "ati", "nbf", "x",
    ]);
    let base =
        format!("\"sub\":\"a\",\"aud\":\"ati-proxy\",\"iat\":{NOW},\"exp\":{NOW},\"scope\":\"\"");
    (vec((name, value), 0..3), any::<bool>()).prop_map(move |(more, whole)| {
        let mut members: Vec<String> = more
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        if whole {
            members.push(base.clone());
        }
        format!("{{{}}}", members.join(","))
    })
}
