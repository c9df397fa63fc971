//! Delegated tokens: a delegate never has more than its parent, and its calls count against the
//! rates of every token before it.

use std::time::Duration;

use ati_client::{
    Claims, DelegateBuilder, Error, MAX_ACTORS, RateLimiter, RateSpec, RateUnit, Verifier,
    check_scope, delegate, inspect, issue,
};
use futures_executor::block_on;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{NOW, at, good, key, rate_of, token, verify, with};

/// The verified claims of `agent-7`: `tool:github:*` and `help`, ten calls an hour, for an hour.
fn agent() -> Claims {
    let claims = Claims::builder("agent-7")
        .issued_at(NOW)
        .scopes(["tool:github:*", "help"])
        .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour))
        .job_id("job-1")
        .sandbox_id("box-1")
        .jti("root");
    signed(claims.build().unwrap())
}

fn to(parent: &Claims, actor: &str) -> DelegateBuilder {
    delegate(parent, actor).issued_at(NOW)
}

/// Issues a token of the claims and verifies it.
fn signed(claims: Claims) -> Claims {
    let read = verify(&issue(&claims, &key()).unwrap()).unwrap();
    assert_eq!(read, claims);
    read
}

fn exceeds(result: Result<Claims, Error>) -> (&'static str, String) {
    match result {
        Err(Error::MoreThanParent { claim, value }) => (claim, value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delegate_s_token_names_its_agent_its_actors_and_every_parent() {
    let helper = to(&agent(), "helper").scope("tool:github:*").jti("second");
    let helper = signed(helper.build().unwrap());
    let crawler = to(&helper, "crawler")
        .scope("tool:github:search")
        .ttl(Duration::from_secs(60))
        .rate("tool:github:*", RateSpec::new(2, RateUnit::Hour))
        .sandbox_id("box-2")
        .jti("third");
    let crawler = signed(crawler.build().unwrap());
    assert_eq!(crawler.actors().collect::<Vec<_>>(), ["crawler", "helper"]);
    assert!(agent().actors().next().is_none());
    let payload: Value = serde_json::from_str(crawler.to_json()).unwrap();
    assert_eq!(
        payload,
        json!({
            "sub": "agent-7", "aud": "ati-proxy", "iat": NOW, "exp": NOW + 60,
            "scope": "tool:github:search", "iss": "ati-orchestrator", "jti": "third",
            "ati": {"v": 1, "rate": {"tool:github:*": "2/hour"}},
            "job_id": "job-1", "sandbox_id": "box-2",
            "act": {"sub": "crawler", "act": {"sub": "helper"}},
            "delegation": [
                {"jti": "root", "aud": ["ati-proxy"], "exp": NOW + 3600, "scope": "tool:github:* help",
                 "rate": {"tool:github:*": "10/hour"}},
                {"jti": "second", "aud": ["ati-proxy"], "exp": NOW + 3600, "scope": "tool:github:*",
                 "rate": {"tool:github:*": "10/hour"}},
            ],
        })
    );
}

#[test]
fn a_delegate_has_no_scope_unless_it_is_given_one() {
    let helper = to(&agent(), "helper").build().unwrap();
    assert!(helper.scopes().is_empty());
    assert_eq!(helper.exp(), agent().exp());
    assert_eq!(helper.rates(), agent().rates());
}

#[test]
fn more_than_the_parent_has_is_refused() {
    let agent = agent();
    let helper = || to(&agent, "helper");
    for scope in [
        "tool:gitlab:search",
        "tool:*",
        "*",
        "tool:github*",
        "hel*",
        "help:",
    ] {
        let (claim, value) = exceeds(helper().scope("help").scope(scope).build());
        assert_eq!((claim, &*value), ("scope", scope));
    }
    let (claim, value) = exceeds(helper().audiences(["ati-proxy", "billing"]).build());
    assert_eq!((claim, &*value), ("aud", "billing"));
    for rate in ["11/hour", "241/day", "11/minute", "1/minute", "1/second"] {
        let rate = helper().rate("tool:github:*", rate.parse().unwrap());
        assert_eq!(exceeds(rate.build()).0, "ati.rate");
    }
    for rate in ["10/hour", "0/second", "10/day", "9/hour"] {
        let rate = helper().rate("tool:github:*", rate.parse().unwrap());
        assert!(rate.build().is_ok());
    }
}

#[test]
fn a_rate_of_another_unit_is_compared_over_the_longer_one() {
    let limits = |limit: &str, rate: &str| {
        let parent = Claims::builder("a")
            .issued_at(NOW)
            .rate("*", limit.parse().unwrap());
        let child = to(&parent.build().unwrap(), "b").rate("*", rate.parse().unwrap());
        child.build().is_ok()
    };
    for (limit, rate) in [
        ("60/hour", "1/minute"),
        ("86400/day", "1/second"),
        ("5/minute", "5/day"),
        ("18446744073709551615/second", "18446744073709551615/day"),
    ] {
        assert!(limits(limit, rate), "{rate} is within {limit}");
    }
    for (limit, rate) in [
        ("59/hour", "1/minute"),
        ("86399/day", "1/second"),
        ("5/minute", "6/day"),
        ("18446744073709551615/day", "18446744073709551615/second"),
    ] {
        assert!(!limits(limit, rate), "{rate} exceeds {limit}");
    }
}

#[test]
fn a_delegate_never_outlives_its_parent() {
    let agent = agent();
    let end = |builder: DelegateBuilder| builder.build().unwrap().exp();
    assert_eq!(end(to(&agent, "b").ttl(Duration::MAX)), NOW + 3600);
    assert_eq!(end(to(&agent, "b").expires_at(u64::MAX)), NOW + 3600);
    assert_eq!(end(to(&agent, "b").expires_at(NOW + 5)), NOW + 5);
    let short = to(&agent, "b")
        .expires_at(NOW + 5)
        .ttl(Duration::from_secs(3));
    assert_eq!(end(short), NOW + 3);
    assert_eq!(end(to(&agent, "b").issued_at(NOW + 3000)), NOW + 3600);
    let long = Claims::builder("a")
        .issued_at(NOW)
        .ttl(Duration::from_secs(7200))
        .build()
        .unwrap();
    assert_eq!(end(to(&long, "b")), NOW + 3600);
    // The parent is verified for a minute longer than it is valid.
    let late = to(&agent, "b").issued_at(NOW + 3601).build();
    assert_eq!(late, Err(Error::Expired { seconds_ago: 1 }));
}

#[test]
fn a_chain_ends_after_a_fixed_number_of_actors() {
    let mut claims = agent();
    for actor in 0..MAX_ACTORS {
        claims = to(&claims, &actor.to_string())
            .scope("help")
            .build()
            .unwrap();
    }
    let claims = signed(claims);
    assert_eq!(claims.actors().len(), MAX_ACTORS);
    assert_eq!(to(&claims, "one more").build(), Err(Error::TooManyActors));
    let mut payload: Value = serde_json::from_str(claims.to_json()).unwrap();
    let act = payload["act"].take();
    payload["act"] = json!({"sub": "one more", "act": act});
    assert_eq!(verify(&token(&payload)), Err(Error::TooManyActors));
    assert!(matches!(
        to(&agent(), "").build(),
        Err(Error::BadClaim { claim: "act", .. })
    ));
}

#[test]
fn a_signed_token_that_exceeds_a_parent_is_refused() {
    let helper = to(&agent(), "helper")
        .scope("tool:github:*")
        .build()
        .unwrap();
    let crawler = to(&helper, "crawler")
        .scope("tool:github:search")
        .build()
        .unwrap();
    let payload: Value = serde_json::from_str(crawler.to_json()).unwrap();
    assert!(verify(&token(&payload)).is_ok());
    let changes: [(&str, Value, &str); 8] = [
        ("/scope", json!("tool:github:search help"), "scope"),
        ("/exp", json!(NOW + 3601), "exp"),
        ("/aud", json!(["ati-proxy", "billing"]), "aud"),
        ("/ati", json!({"v": 1}), "ati.rate"),
        ("/ati/rate", json!({"tool:github:*": "11/hour"}), "ati.rate"),
        ("/delegation/1/scope", json!("*"), "scope"),
        ("/delegation/1/rate", json!({}), "ati.rate"),
        ("/delegation/0/exp", json!(NOW), "exp"),
    ];
    for (place, value, exceeded) in changes {
        let mut changed = payload.clone();
        *changed.pointer_mut(place).unwrap() = value;
        let token = token(&changed);
        assert_eq!(exceeds(verify(&token)).0, exceeded, "{place}");
        assert!(inspect(&token).is_ok(), "{place}");
    }
}

#[test]
fn a_malformed_chain_is_refused() {
    for act in [
        json!(null),
        json!("helper"),
        json!([]),
        json!({}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "helper", "act": null}),
        json!({"sub": "helper", "act": {"act": {"sub": "x"}}}),
    ] {
        let refused = verify(&with("act", act.clone()));
        assert!(
            matches!(refused, Err(Error::WrongType { claim: "act", .. })),
            "{act}"
        );
    }
    for delegation in [
        json!(null),
        json!({}),
        json!([7]),
        json!([{"aud": [], "exp": 1.5, "scope": ""}]),
        json!([["1", ["ati-proxy"], NOW + 600, "*", {}]]),
        json!([{"aud": "ati-proxy", "exp": NOW + 600, "scope": "*"}]),
        json!([{"aud": ["ati-proxy"], "exp": NOW + 600, "scope": null}]),
        json!([{"aud": ["ati-proxy"], "exp": NOW + 600, "scope": "*", "jti": null}]),
        json!([{"aud": ["ati-proxy"], "exp": NOW + 600, "scope": "*", "rate": null}]),
        json!([{"aud": ["ati-proxy"], "exp": NOW + 600, "scope": "*", "rate": {"*": 1}}]),
    ] {
        let mut claims = good();
        claims["act"] = json!({"sub": "helper"});
        claims["delegation"] = delegation.clone();
        let refused = verify(&token(&claims));
        assert!(
            matches!(
                refused,
                Err(Error::WrongType {
                    claim: "delegation",
                    ..
                })
            ),
            "{delegation}"
        );
    }
    let parent = json!([{"aud": ["ati-proxy"], "exp": NOW + 600, "scope": "*"}]);
    assert!(matches!(
        verify(&with("delegation", parent)),
        Err(Error::BadDelegation { .. })
    ));
}

#[test]
fn an_actor_of_another_issuer_is_known_and_may_be_delegated_from() {
    let act = json!({"sub": "helper", "iss": "https://idp.example.com", "act": {"sub": "desk", "new": 1}});
    let claims = verify(&with("act", act)).unwrap();
    assert_eq!(claims.actors().collect::<Vec<_>>(), ["helper", "desk"]);
    let next = signed(to(&claims, "crawler").scope("tool:a").build().unwrap());
    assert_eq!(
        next.actors().collect::<Vec<_>>(),
        ["crawler", "helper", "desk"]
    );
}

#[test]
fn a_parent_with_an_unreadable_rate_cannot_be_delegated() {
    let parent = verify(&with("ati", json!({"v": 1, "rate": {"tool:a": "lots"}}))).unwrap();
    assert!(matches!(
        to(&parent, "b").build(),
        Err(Error::BadRate { .. })
    ));
}

#[test]
fn a_delegate_s_calls_count_against_every_token_before_it() {
    let limiter = RateLimiter::new(100);
    let call = |claims: &Claims| block_on(limiter.check(claims, "tool:github:search", at(NOW)));
    let two = RateSpec::new(2, RateUnit::Day);
    let agent = agent();
    let build = |builder: DelegateBuilder| builder.scope("tool:github:*").build().unwrap();
    let helper = build(to(&agent, "helper").rate("tool:github:*", two));
    let other = build(to(&agent, "other"));
    let crawler = build(to(&helper, "crawler"));

    // The helper's two calls a day are used up by its own delegate.
    assert!(call(&crawler).is_ok() && call(&crawler).is_ok());
    for refused in [&crawler, &helper] {
        assert!(matches!(call(refused), Err(Error::RateExceeded { .. })));
    }
    // Eight of the agent's ten calls are left, for itself and all delegates together.
    for caller in [
        &other, &agent, &other, &agent, &other, &agent, &other, &agent,
    ] {
        assert_eq!(call(caller), Ok(()));
    }
    for refused in [&other, &agent] {
        assert!(matches!(call(refused), Err(Error::RateExceeded { .. })));
    }
}

/// Names over few characters, so that patterns of one often cover another.
fn scope() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(tool:)?[ab_:]{1,6}\\*?",
        1 => Just("*".to_owned()),
        1 => "[ab*]{1,3}",
    ]
}

fn rate() -> impl Strategy<Value = RateSpec> {
    rate_of(0u64..4)
}

/// What a link of a chain asks for.
#[derive(Clone, Debug)]
struct Asked {
    scopes: Vec<String>,
    ttl: u64,
    rates: Vec<(String, RateSpec)>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let rates = vec(("(tool:)?[ab]?\\*", rate()), 0..3);
    (vec(scope(), 0..4), 0..2_000u64, rates).prop_map(|(scopes, ttl, mut rates)| {
        rates.sort_by(|(one, _), (other, _)| one.cmp(other));
        rates.dedup_by(|(one, _), (other, _)| one == other);
        Asked { scopes, ttl, rates }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A link that asks for too much is left out, and the next one is delegated from the last good
    /// token.
    #[test]
    fn no_chain_of_delegations_grants_what_its_root_does_not(
        root in asked(), links in vec(asked(), 1..6),
        names in vec("(tool:)?[ab_:]{1,7}", 40),
        calls in vec((0usize..6, 0u64..200, "tool:[ab]{1,2}"), 0..40),
    ) {
        let mut claims = Claims::builder("agent").issued_at(NOW).scopes(&root.scopes);
        claims = claims.ttl(Duration::from_secs(root.ttl));
        for (pattern, rate) in &root.rates {
            claims = claims.rate(pattern, *rate);
        }
        let root = claims.build().unwrap();
        let mut chain = vec![root.clone()];
        for (number, link) in links.iter().enumerate() {
            let parent = chain.last().unwrap();
            let mut child = to(parent, &format!("actor {number}")).scopes(&link.scopes);
            child = child.ttl(Duration::from_secs(link.ttl));
            for (pattern, rate) in &link.rates {
                child = child.rate(pattern, *rate);
            }
            if let Ok(child) = child.build() {
                chain.push(signed(child));
            }
        }
        for child in &chain {
            prop_assert!(child.exp() <= root.exp());
            prop_assert_eq!(child.sub(), root.sub());
            for name in &names {
                let granted = |claims: &Claims| check_scope(name, claims.scopes().iter()).unwrap();
                prop_assert!(!granted(child) || granted(&root), "{} {}", name, child.to_json());
            }
        }
        // However the calls are spread over the chain, the root's rates hold for all together.
        let (all, alone) = (RateLimiter::new(10_000), RateLimiter::new(10_000));
        let mut now = NOW;
        for (place, wait, name) in calls {
            now += wait;
            let caller = &chain[place % chain.len()];
            if block_on(all.check(caller, &name, at(now))).is_ok() {
                prop_assert_eq!(block_on(alone.check(&root, &name, at(now))), Ok(()));
            }
        }
    }

    /// What the delegation compares is what a verifier that knows no delegation would grant.
    #[test]
    fn a_scope_that_a_parent_covers_grants_no_name_that_the_parent_does_not(
        held in vec(scope(), 1..3), asked in scope(), names in vec("(tool:)?[ab_:]{1,7}", 60),
    ) {
        let parent = Claims::builder("agent").issued_at(NOW).scopes(&held).build().unwrap();
        if to(&parent, "helper").scope(&asked).build().is_ok() {
            let tail = asked.trim_end_matches('*');
            let named = names.iter().map(|name| format!("{tail}{name}"));
            for name in named.chain(names.iter().cloned()) {
                let granted = check_scope(&name, [&*asked]).unwrap();
                prop_assert!(!granted || parent.scopes().grants(&name).unwrap(), "{}", name);
            }
        }
    }

    #[test]
    fn a_scope_of_the_parent_is_always_covered(held in vec(scope(), 1..4)) {
        let parent = Claims::builder("agent").issued_at(NOW).scopes(&held).build().unwrap();
        prop_assert!(to(&parent, "helper").scopes(&held).build().is_ok());
    }
}

#[test]
fn a_verifier_with_a_cache_refuses_what_exceeds_its_parent_each_time() {
    let verifier = Verifier::builder(key().verifying_key())
        .cache(ati_client::VerifiedCache::new(10))
        .build()
        .unwrap();
    let helper = to(&agent(), "helper").scope("help").build().unwrap();
    let mut payload: Value = serde_json::from_str(helper.to_json()).unwrap();
    payload["scope"] = json!("*");
    let token = token(&payload);
    for _ in 0..2 {
        assert_eq!(exceeds(verifier.verify_at(&token, at(NOW))).0, "scope");
    }
}
