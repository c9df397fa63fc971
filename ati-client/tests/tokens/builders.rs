//! A second call of a builder's method adds or replaces, as the method's documentation says.

use std::time::Duration;

use ati_client::{
    Claims, ClaimsBuilder, Error, Orchestrator, RateSpec, RateUnit, ReplayGuard, Sandbox,
    VerifiedCache, Verifier, VerifierBuilder, issue,
};
use proptest::prelude::*;

use crate::support::{NOW, at, key};

fn claims(build: impl FnOnce(ClaimsBuilder) -> ClaimsBuilder) -> Claims {
    build(Claims::builder("agent-7").issued_at(NOW))
        .build()
        .unwrap()
}

fn verifier(build: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Verifier {
    build(Verifier::builder(key().verifying_key()))
        .build()
        .unwrap()
}

fn day() -> RateSpec {
    RateSpec::new(1, RateUnit::Day)
}

fn second() -> RateSpec {
    RateSpec::new(100, RateUnit::Second)
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn scopes_are_added() {
    let claims = claims(|b| b.scope("a").scopes(["b", "c"]).scope("d").scopes(["e"]));
    assert_eq!(claims.scopes().as_str(), "a b c d e");
}

#[test]
fn what_a_token_says_once_is_replaced() {
    let replaced = claims(|b| {
        b.audience("a")
            .audiences(["b", "c"])
            .audience("d")
            .issuer("a")
            .issuer("b")
            .jti("a")
            .jti("b")
            .job_id("a")
            .job_id("b")
            .sandbox_id("a")
            .sandbox_id("b")
            .issued_at(NOW + 1)
            .issued_at(NOW + 2)
    });
    assert_eq!(replaced.aud(), ["d"]);
    assert_eq!(replaced.iss(), Some("b"));
    assert_eq!(replaced.jti(), Some("b"));
    assert_eq!(replaced.job_id(), Some("b"));
    assert_eq!(replaced.sandbox_id(), Some("b"));
    assert_eq!(replaced.iat(), NOW + 2);
    let several = claims(|b| b.audience("a").audiences(["b", "c"]));
    assert_eq!(several.aud(), ["b", "c"]);
    assert_eq!(claims(|b| b.issuer("a").no_issuer()).iss(), None);
    assert_eq!(claims(|b| b.no_issuer().issuer("a")).iss(), Some("a"));
}

#[test]
fn a_lifetime_is_replaced_and_the_earlier_of_two_limits_holds() {
    assert_eq!(claims(|b| b.ttl(MINUTE).ttl(HOUR)).exp(), NOW + 3600);
    let exp = |first: u64, second| claims(|b| b.expires_at(first).expires_at(second)).exp();
    assert_eq!(exp(NOW + 60, NOW + 3600), NOW + 3600);
    for (ttl, exp, holds) in [
        (MINUTE, NOW + 3600, NOW + 60),
        (HOUR, NOW + 60, NOW + 60),
        (HOUR, NOW, NOW),
        (Duration::MAX, NOW + 60, NOW + 60),
        (MINUTE, u64::MAX, NOW + 60),
    ] {
        assert_eq!(claims(|b| b.ttl(ttl).expires_at(exp)).exp(), holds);
        assert_eq!(claims(|b| b.expires_at(exp).ttl(ttl)).exp(), holds);
    }
    // The default lifetime does not limit `expires_at`.
    assert_eq!(claims(|b| b.expires_at(NOW + 7200)).exp(), NOW + 7200);
}

#[test]
fn rates_are_added_and_none_takes_another_s_place() {
    let two = claims(|b| b.rate("tool:a", day()).rate("tool:*", second()));
    assert_eq!(
        two.rates().unwrap(),
        [("tool:a", day()), ("tool:*", second())]
    );
    let same = claims(|b| b.rate("tool:a", day()).rate("tool:a", day()));
    assert_eq!(same.rates().unwrap(), [("tool:a", day())]);
    let refused = Error::TwoRates {
        pattern: "tool:a".to_owned(),
    };
    for (one, other) in [(day(), second()), (second(), day())] {
        let claims = Claims::builder("agent-7")
            .rate("tool:a", one)
            .rate("tool:b", one)
            .rate("tool:a", other);
        assert_eq!(claims.build(), Err(refused.clone()));
    }
    assert_eq!(refused.to_string(), "`tool:a` has two rates: give one");
}

#[test]
fn a_sandbox_adds_what_it_may_use_and_replaces_its_lifetime() {
    let orchestrator = Orchestrator::new("https://a", key()).unwrap();
    let sandbox = Sandbox::new("agent-7")
        .tool("a")
        .tools(["b"])
        .tool("c")
        .skill("d")
        .skills(["e"])
        .scope("f")
        .scopes(["g"])
        .rate("tool:a", day())
        .rate("tool:b", second())
        .ttl(MINUTE)
        .ttl(HOUR);
    let env = orchestrator.provision_sandbox(&sandbox).unwrap();
    let claims = verifier(|b| b).verify(env.token()).unwrap();
    assert_eq!(
        claims.scopes().as_str(),
        "tool:a tool:b tool:c skill:d skill:e f g"
    );
    assert_eq!(
        claims.rates().unwrap(),
        [("tool:a", day()), ("tool:b", second())]
    );
    assert_eq!(claims.exp(), claims.iat() + 3600);

    let refused = orchestrator.provision_sandbox(&sandbox.rate("tool:a", second()));
    assert!(matches!(refused, Err(Error::TwoRates { .. })));
}

#[test]
fn an_orchestrator_replaces_its_audience_and_its_issuer() {
    let orchestrator = Orchestrator::new("https://a", key())
        .unwrap()
        .audience("a")
        .audience("b")
        .issuer("c")
        .issuer("d");
    let env = orchestrator.provision_sandbox(&Sandbox::new("agent-7"));
    let verifier = verifier(|b| b.audience("b").issuer("d"));
    let claims = verifier.verify(env.unwrap().token()).unwrap();
    assert_eq!(
        (claims.aud(), claims.iss()),
        (&["b".to_owned()][..], Some("d"))
    );
}

#[test]
fn a_verifier_replaces_what_it_requires() {
    let token = |audience: &str, issuer: &str| {
        let claims = claims(|b| b.audience(audience).issuer(issuer));
        issue(&claims, &key()).unwrap()
    };
    let audiences = verifier(|b| b.audience("a").audiences(["b", "c"]).audience("d"));
    for (audience, is_good) in [("a", false), ("b", false), ("c", false), ("d", true)] {
        let verified = audiences.verify_at(&token(audience, "us"), at(NOW));
        assert_eq!(verified.is_ok(), is_good, "{audience}");
    }
    let issuers = verifier(|b| b.issuer("a").issuer("b"));
    for (issuer, is_good) in [("a", false), ("b", true)] {
        let verified = issuers.verify_at(&token("ati-proxy", issuer), at(NOW));
        assert_eq!(verified.is_ok(), is_good, "{issuer}");
    }
    let leeway = verifier(|b| b.leeway(HOUR / 6).leeway(Duration::ZERO));
    let exp = claims(|b| b).exp();
    let token = token("ati-proxy", "us");
    assert!(leeway.verify_at(&token, at(exp)).is_ok());
    assert!(leeway.verify_at(&token, at(exp + 1)).is_err());
    // An invalid value that is replaced leaves no error behind.
    verifier(|b| b.leeway(HOUR).leeway(MINUTE));
}

#[test]
fn a_verifier_replaces_its_cache_and_its_guard_and_has_both() {
    let verifier = verifier(|b| {
        b.cache(VerifiedCache::new(0))
            .replay_guard(ReplayGuard::new(0))
            .cache(VerifiedCache::new(10))
            .replay_guard(ReplayGuard::new(10))
    });
    let token = issue(&claims(|b| b), &key()).unwrap();
    assert!(verifier.verify_at(&token, at(NOW)).is_ok());
    assert_eq!(verifier.cache().unwrap().len(), 1);
    assert_eq!(verifier.verify_at(&token, at(NOW)), Err(Error::Replayed));
}

proptest! {
    #[test]
    fn a_token_never_outlives_a_limit_that_was_stated(ttl: u64, exp: u64, ttl_first: bool) {
        let builder = Claims::builder("agent-7").issued_at(NOW);
        let lifetime = Duration::from_secs(ttl);
        let claims = if ttl_first {
            builder.ttl(lifetime).expires_at(exp)
        } else {
            builder.expires_at(exp).ttl(lifetime)
        };
        prop_assert_eq!(claims.build().unwrap().exp(), NOW.saturating_add(ttl).min(exp));
    }
}
