//! The cache of verified tokens, and the replay guard.

use std::sync::Barrier;
use std::thread;

use ati_client::{Claims, Error, ReplayGuard, SigningKey, VerifiedCache, Verifier, issue};

use crate::support::{NOW, at, key};

fn token(sub: &str, ttl: u64) -> String {
    let claims = Claims::builder(sub)
        .issued_at(NOW)
        .expires_at(NOW + ttl)
        .build()
        .unwrap();
    issue(&claims, &key()).unwrap()
}

fn cached() -> Verifier {
    Verifier::builder(key().verifying_key())
        .cache(VerifiedCache::new(100))
        .build()
        .unwrap()
}

fn guarded(capacity: usize) -> Verifier {
    Verifier::builder(key().verifying_key())
        .replay_guard(ReplayGuard::new(capacity))
        .build()
        .unwrap()
}

#[test]
fn a_cached_token_says_the_same() {
    let (plain, cached) = (
        Verifier::builder(key().verifying_key()).build().unwrap(),
        cached(),
    );
    let token = token("agent-7", 600);
    for _ in 0..3 {
        assert_eq!(
            cached.verify_at(&token, at(NOW)),
            plain.verify_at(&token, at(NOW))
        );
    }
}

#[test]
fn a_cached_token_expires_like_any_other() {
    let verifier = cached();
    let token = token("agent-7", 600);
    assert!(verifier.verify_at(&token, at(NOW + 1)).is_ok());
    for (time, is_good) in [
        (NOW + 600, true),
        (NOW + 601, true),
        (NOW + 660, true),
        (NOW + 661, false),
    ] {
        assert_eq!(
            verifier.verify_at(&token, at(time)).is_ok(),
            is_good,
            "{time}"
        );
    }
    // Setting the clock back does not make a token from the future valid.
    assert!(verifier.verify_at(&token, at(NOW - 60)).is_ok());
    assert!(matches!(
        verifier.verify_at(&token, at(NOW - 61)),
        Err(Error::NotYetValid { .. })
    ));
}

#[test]
fn a_token_that_is_nearly_a_cached_one_is_refused() {
    let verifier = cached();
    let token = token("agent-7", 600);
    verifier.verify_at(&token, at(NOW)).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    for other in [
        format!("{message}."),
        format!("{message}.{}", &signature[1..]),
        format!("{token}A"),
        token.replacen('e', "f", 1),
    ] {
        assert!(verifier.verify_at(&other, at(NOW)).is_err());
    }
}

#[test]
fn a_cache_remembers_until_it_is_flushed_and_no_more_than_it_may() {
    let verifier = cached();
    for n in 0..1000 {
        verifier
            .verify_at(&token(&format!("agent-{n}"), 600), at(NOW))
            .unwrap();
    }
    let cache = verifier.cache().unwrap();
    assert!((1..=100).contains(&cache.len()), "{}", cache.len());
    cache.flush();
    assert_eq!(cache.len(), 0);
    assert!(verifier.verify_at(&token("agent-0", 600), at(NOW)).is_ok());
    assert_eq!(cache.len(), 1);
}

#[test]
fn only_good_tokens_are_remembered_and_only_while_they_are() {
    let verifier = cached();
    let cache = verifier.cache().unwrap();
    let forged = issue(
        &Claims::builder("a").issued_at(NOW).build().unwrap(),
        &SigningKey::from_hex(&"0".repeat(64)).unwrap(),
    );
    assert_eq!(
        verifier.verify_at(&forged.unwrap(), at(NOW)),
        Err(Error::BadSignature)
    );
    // The token has expired, and is accepted within the leeway.
    assert!(verifier.verify_at(&token("a", 600), at(NOW + 601)).is_ok());
    assert_eq!(cache.len(), 0);
    let token = token("b", 600);
    assert!(verifier.verify_at(&token, at(NOW + 600)).is_ok());
    assert_eq!(cache.len(), 1);
    assert!(verifier.verify_at(&token, at(NOW + 601)).is_ok());
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_token_is_used_once() {
    let verifier = guarded(10);
    let (a, b) = (token("a", 600), token("b", 600));
    assert!(verifier.verify_at(&a, at(NOW)).is_ok());
    assert!(verifier.clone().verify_at(&b, at(NOW)).is_ok());
    for time in [NOW, NOW + 600, NOW + 660] {
        assert_eq!(verifier.verify_at(&a, at(time)), Err(Error::Replayed));
    }
    assert!(matches!(
        verifier.verify_at(&a, at(NOW + 661)),
        Err(Error::Expired { .. })
    ));
    // The guard has removed the id, and refuses the token even if the clock is set back.
    assert!(verifier.verify_at(&token("c", 900), at(NOW + 661)).is_ok());
    assert!(matches!(
        verifier.verify_at(&a, at(NOW)),
        Err(Error::Expired { .. })
    ));
}

#[test]
fn a_refused_token_does_not_use_up_its_id() {
    let verifier = guarded(10);
    let claims = Claims::builder("a")
        .issued_at(NOW)
        .jti("1")
        .build()
        .unwrap();
    let other = Claims::builder("a")
        .issued_at(NOW)
        .jti("1")
        .audience("other")
        .build()
        .unwrap();
    assert_eq!(
        verifier.verify_at(&issue(&other, &key()).unwrap(), at(NOW)),
        Err(Error::WrongAudience)
    );
    assert!(
        verifier
            .verify_at(&issue(&claims, &key()).unwrap(), at(NOW))
            .is_ok()
    );
}

#[test]
fn a_token_without_an_id_cannot_be_told_from_a_second_use() {
    let refused = guarded(10).verify_at(&crate::support::token(&crate::support::good()), at(NOW));
    assert_eq!(refused, Err(Error::MissingClaim { claim: "jti" }));
}

#[test]
fn a_full_guard_lets_nothing_through_until_something_expires() {
    let verifier = guarded(2);
    assert!(verifier.verify_at(&token("a", 100), at(NOW)).is_ok());
    assert!(verifier.verify_at(&token("b", 200), at(NOW)).is_ok());
    let c = token("c", 300);
    assert_eq!(
        verifier.verify_at(&c, at(NOW + 160)),
        Err(Error::ReplayGuardFull { capacity: 2 })
    );
    assert!(verifier.verify_at(&c, at(NOW + 161)).is_ok());
}

#[test]
fn of_many_uses_at_once_one_gets_through_even_with_a_cache() {
    let verifier = Verifier::builder(key().verifying_key())
        .replay_guard(ReplayGuard::new(10))
        .cache(VerifiedCache::new(10))
        .build()
        .unwrap();
    let token = token("a", 600);
    let start = Barrier::new(8);
    let through = thread::scope(|scope| {
        let uses: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    verifier.verify_at(&token, at(NOW)).is_ok()
                })
            })
            .collect();
        uses.into_iter()
            .map(|used| used.join().unwrap())
            .filter(|through| *through)
            .count()
    });
    assert_eq!(through, 1);
}
