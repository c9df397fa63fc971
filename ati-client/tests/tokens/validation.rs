//! The table of the contract, row by row.

use std::time::Duration;

use ati_client::{Claims, Error, MAX_LEEWAY, VerifiedCache, Verifier};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{NOW, at, forge, good, key, token, verifier, verify, with};

#[test]
fn a_good_token_is_believed() {
    let claims = verify(&token(&good())).unwrap();
    assert_eq!(claims.sub(), "agent-7");
    assert_eq!(claims.aud(), ["ati-proxy"]);
    assert_eq!((claims.iat(), claims.exp()), (NOW, NOW + 600));
    assert_eq!(claims.scopes().as_str(), "tool:a tool:b:*");
    assert_eq!((claims.iss(), claims.jti()), (None, None));
    assert_eq!((claims.job_id(), claims.sandbox_id()), (None, None));
    assert_eq!(claims.rates(), Ok(vec![]));
}

#[test]
fn the_optional_claims_are_kept() {
    let mut claims = good();
    claims["iss"] = json!("ati-orchestrator");
    claims["jti"] = json!("6c1f");
    claims["job_id"] = json!("job-12");
    claims["sandbox_id"] = json!("box-3");
    claims["ati"] = json!({"v": 1, "rate": {"tool:a": "10/hour"}, "more": {"x": 1}});
    claims["sub"] = json!("агент-7 ☂");
    let claims = verify(&token(&claims)).unwrap();
    assert_eq!(claims.iss(), Some("ati-orchestrator"));
    assert_eq!(claims.jti(), Some("6c1f"));
    assert_eq!(claims.job_id(), Some("job-12"));
    assert_eq!(claims.sandbox_id(), Some("box-3"));
    assert_eq!(claims.sub(), "агент-7 ☂");
    let rates = claims.rates().unwrap();
    assert_eq!(rates, [("tool:a", "10/hour".parse().unwrap())]);
}

#[test]
fn unknown_claims_are_ignored_and_shown() {
    let payload = format!(
        r#" {{"x":[1,{{"y":null}}],"sub":"a","aud":"ati-proxy","iat":{NOW},"exp":{NOW},
        "scope":"","z":1.50}} "#
    );
    let claims = verify(&forge(crate::support::HEADER, &payload)).unwrap();
    assert_eq!(claims.to_json(), payload);
    assert!(claims.scopes().is_empty());
}

#[test]
fn a_claim_that_must_be_there_must_be_there() {
    for claim in ["sub", "aud", "iat", "exp", "scope"] {
        assert_eq!(
            verify(&with(claim, None)),
            Err(Error::MissingClaim { claim })
        );
    }
}

#[test]
fn a_claim_of_another_type_is_refused() {
    let anything = [
        json!(null),
        json!(true),
        json!(7),
        json!(-7),
        json!(7.5),
        json!("seven"),
        json!(["seven"]),
        json!([7]),
        json!({"seven": 7}),
    ];
    type Rule = fn(&Value) -> bool;
    let is_audience: Rule = |value| *value == json!(["seven"]) || value.is_string();
    let types: [(&str, Rule); 11] = [
        ("sub", Value::is_string),
        ("scope", Value::is_string),
        ("iss", Value::is_string),
        ("jti", Value::is_string),
        ("job_id", Value::is_string),
        ("sandbox_id", Value::is_string),
        ("iat", Value::is_u64),
        ("exp", Value::is_u64),
        ("nbf", Value::is_u64),
        ("aud", is_audience),
        ("ati", |_| false),
    ];
    for (claim, is_right) in types {
        for value in &anything {
            let wrong_type = matches!(
                verify(&with(claim, value.clone())),
                Err(Error::WrongType { claim: named, .. }) if named == claim
            );
            assert_eq!(wrong_type, !is_right(value), "{claim}: {value}");
        }
    }
}

#[test]
fn a_time_is_a_whole_number() {
    for time in [
        "1900000600.0",
        "1.9000006e9",
        "18446744073709551616",
        "-0.0",
        "1e999",
    ] {
        for claim in ["iat", "exp", "nbf"] {
            let mut claims = good();
            claims[claim] = json!("TIME");
            let payload = claims.to_string().replace("\"TIME\"", time);
            assert!(
                verify(&forge(crate::support::HEADER, payload)).is_err(),
                "{claim}: {time}"
            );
        }
    }
}

#[test]
fn a_token_is_good_up_to_and_including_the_leeway() {
    let token = token(&good());
    let exp = NOW + 600;
    for leeway in [0, 1, 60, 600] {
        let verifier = Verifier::builder(key().verifying_key())
            .leeway(Duration::from_secs(leeway))
            .build()
            .unwrap();
        assert!(verifier.verify_at(&token, at(exp + leeway)).is_ok());
        assert_eq!(
            verifier.verify_at(&token, at(exp + leeway + 1)),
            Err(Error::Expired {
                seconds_ago: leeway + 1
            })
        );
    }
    // The default is a minute.
    assert!(verifier().verify_at(&token, at(exp + 60)).is_ok());
    assert!(verifier().verify_at(&token, at(exp + 61)).is_err());
}

#[test]
fn verified_claims_expire_when_their_verifier_would_refuse_the_token() {
    let exp = NOW + 600;
    let expired = |leeway: u64| {
        let seconds_ago = leeway + 1;
        Err(Error::Expired { seconds_ago })
    };
    for leeway in [0, 1, 60, 600] {
        let verifier = Verifier::builder(key().verifying_key())
            .leeway(Duration::from_secs(leeway))
            .cache(VerifiedCache::new(10))
            .build()
            .unwrap();
        // The second claims come from the cache.
        for _ in 0..2 {
            let claims = verifier.verify_at(&token(&good()), at(NOW)).unwrap();
            assert_eq!(claims.require_current(at(exp + leeway)), Ok(()));
            let after = claims.require_current(at(exp + leeway + 1));
            assert_eq!(after, expired(leeway));
        }
    }
    let built = Claims::builder("a").issued_at(NOW).expires_at(exp).build();
    let built = built.unwrap();
    assert_eq!(built.require_current(at(exp + 60)), Ok(()));
    assert_eq!(built.require_current(at(exp + 61)), expired(60));
    let endless = verify(&with("exp", json!(u64::MAX))).unwrap();
    assert_eq!(endless.require_current(at(NOW)), Ok(()));
}

#[test]
fn a_leeway_is_at_most_ten_minutes() {
    let build = |leeway| {
        let builder = Verifier::builder(key().verifying_key());
        builder.leeway(leeway).build().map(drop)
    };
    let minutes = Duration::from_secs(600);
    assert_eq!(MAX_LEEWAY, minutes);
    assert_eq!(build(minutes), Ok(()));
    for (leeway, seconds) in [
        (minutes + Duration::from_nanos(1), 601),
        (minutes + Duration::from_secs(1), 601),
        (Duration::MAX, u64::MAX),
    ] {
        let refused = Error::LeewayTooLong { seconds };
        assert!(refused.to_string().contains("at most 600"), "{refused}");
        assert_eq!(build(leeway), Err(refused));
    }
}

#[test]
fn a_token_from_the_future_is_refused() {
    for claim in ["nbf", "iat"] {
        assert!(verify(&with(claim, json!(NOW + 60))).is_ok());
        assert_eq!(
            verify(&with(claim, json!(NOW + 61))),
            Err(Error::NotYetValid {
                claim,
                seconds_ahead: 61
            })
        );
        assert!(verify(&with(claim, json!(u64::MAX))).is_err());
    }
    // At a clock in 1960, every token is from the future.
    let sixties = std::time::UNIX_EPOCH - Duration::from_secs(300_000_000);
    assert!(verifier().verify_at(&token(&good()), sixties).is_err());
}

#[test]
fn no_time_is_too_far_away_to_be_compared() {
    let verifier = Verifier::builder(key().verifying_key())
        .leeway(MAX_LEEWAY)
        .build()
        .unwrap();
    let token = with("exp", json!(u64::MAX));
    assert!(verifier.verify_at(&token, at(NOW)).is_ok());
    assert!(verify(&token).is_ok());
    assert!(verify(&with("exp", json!(0))).is_err());
}

#[test]
fn one_of_several_audiences_is_enough() {
    let any = |token: &str, audiences: &[&str]| {
        Verifier::builder(key().verifying_key())
            .audiences(audiences.iter().copied())
            .build()
            .unwrap()
            .verify_at(token, at(NOW))
            .map(|claims| claims.aud().to_vec())
    };
    let one = with("aud", json!("b"));
    let two = with("aud", json!(["a", "b"]));
    assert_eq!(any(&one, &["a", "b"]).unwrap(), ["b"]);
    assert_eq!(any(&two, &["b", "c"]).unwrap(), ["a", "b"]);
    for (token, accepted) in [
        (&one, "a"),
        (&one, "B"),
        (&one, "b "),
        (&two, "c"),
        (&two, "a,b"),
    ] {
        assert_eq!(any(token, &[accepted]), Err(Error::WrongAudience));
    }
    assert_eq!(
        any(&with("aud", json!([])), &["a"]),
        Err(Error::WrongAudience)
    );
    assert_eq!(
        any(&with("aud", json!("")), &["a"]),
        Err(Error::WrongAudience)
    );
}

#[test]
fn no_audience_never_means_any() {
    let builder = || Verifier::builder(key().verifying_key());
    let none: [&str; 0] = [];
    assert_eq!(
        builder().audiences(none).build().unwrap_err(),
        Error::EmptyAudience
    );
    assert_eq!(
        builder().audience("").build().unwrap_err(),
        Error::EmptyAudience
    );
    assert_eq!(
        builder().audiences(["a", ""]).build().unwrap_err(),
        Error::EmptyAudience
    );
    assert_eq!(
        builder().issuer("").build().unwrap_err(),
        Error::EmptyIssuer
    );
}

#[test]
fn a_required_issuer_must_be_the_one_and_must_be_there() {
    let strict = Verifier::builder(key().verifying_key())
        .issuer("us")
        .build()
        .unwrap();
    let from = |issuer| strict.verify_at(&with("iss", issuer), at(NOW));
    assert!(from(Some(json!("us"))).is_ok());
    for other in [
        Some(json!("them")),
        Some(json!("")),
        Some(json!("US")),
        None,
    ] {
        assert_eq!(from(other), Err(Error::WrongIssuer));
    }
    // Without a required issuer, any issuer is accepted.
    assert!(verify(&with("iss", json!("them"))).is_ok());
}

#[test]
fn a_namespace_says_its_version_and_writes_rates_as_strings() {
    let refused = [
        json!({}),
        json!({"rate": {"tool:a": "1/s"}}),
        json!({"v": "1"}),
        json!({"v": 1.0}),
        json!({"v": -1}),
        json!({"v": null}),
        json!({"v": 1, "rate": null}),
        json!({"v": 1, "rate": "1/s"}),
        json!({"v": 1, "rate": ["1/s"]}),
        json!({"v": 1, "rate": {"tool:a": 1}}),
        json!({"v": 1, "rate": {"tool:a": null}}),
        json!([1]),
        json!([1, {"tool:a": "1/s"}]),
    ];
    for ati in refused {
        assert!(
            matches!(
                verify(&with("ati", ati.clone())),
                Err(Error::WrongType { claim: "ati", .. })
            ),
            "{ati}"
        );
    }
    for ati in [json!({"v": 1}), json!({"v": 1, "rate": {}})] {
        assert!(verify(&with("ati", ati)).is_ok());
    }
}

#[test]
fn a_namespace_of_another_version_is_refused() {
    for version in [0, 2, 3, 10, 255, 256, 257, u64::MAX] {
        for ati in [
            json!({"v": version}),
            json!({"v": version, "rate": {}}),
            json!({"rate": {"tool:a": "1/hour"}, "v": version}),
        ] {
            let token = with("ati", ati);
            let refused = Error::UnknownVersion { version };
            assert_eq!(verify(&token), Err(refused.clone()));
            assert_eq!(ati_client::inspect(&token).unwrap_err(), refused);
        }
    }
}

/// Generates a value of `ati`, of any type.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u64..4).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9/a-z]{0,6}".prop_map(Value::from),
    ];
    let named = prop::sample::select(vec!["v", "rate", "tool:a", "x"]);
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((named.clone(), inner), 0..4).prop_map(|members| {
                let members = members.into_iter();
                Value::Object(
                    members
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

/// Whether the contract accepts this value of `ati`.
fn is_namespace(ati: &Value) -> bool {
    let rate = match ati.get("rate") {
        None => true,
        Some(Value::Object(rates)) => rates.values().all(Value::is_string),
        Some(_) => false,
    };
    ati.is_object() && ati["v"].as_u64() == Some(1) && rate
}

proptest! {
    #[test]
    fn a_namespace_is_accepted_exactly_when_the_contract_accepts_it(ati in anything(), is_first: bool) {
        let mut ati = ati;
        if is_first && let Some(members) = ati.as_object_mut() {
            members.insert("v".to_owned(), json!(1));
        }
        let is_right = is_namespace(&ati);
        prop_assert_eq!(verify(&with("ati", ati)).is_ok(), is_right);
    }
}

#[test]
fn inspecting_asks_for_no_key_and_no_time() {
    let expired = with("exp", json!(1));
    let message = expired.rsplit_once('.').unwrap().0;
    for token in [&expired, &format!("{message}."), &format!("{message}.AAAA")] {
        let unverified = ati_client::inspect(token).unwrap();
        assert_eq!(unverified.sub(), "agent-7");
        assert_eq!(unverified.scope(), "tool:a tool:b:*");
        assert_eq!(unverified.algorithm(), "HS256");
        assert_eq!(unverified.exp(), 1);
    }
    let none = forge(r#"{"alg":"none"}"#, good().to_string());
    assert_eq!(ati_client::inspect(&none).unwrap().algorithm(), "none");
    for nothing in ["", "a", "a.b.c", "..", "e30.e30.", "bm8.bm8.bm8"] {
        assert!(ati_client::inspect(nothing).is_err());
    }
}
