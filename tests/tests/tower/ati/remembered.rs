//! Tests verifiers with a replay guard or a cache.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ati_client::{ReplayGuard, VerifiedCache, Verifier};
use atlasent_tower::AtiLayer;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use tower::Layer;

use crate::agents::{agent, any_token, bearing, token, verifier_builder};
use crate::answer::{Answer, send};
use crate::inner::Inner;
use crate::ways::PATH;

fn once(capacity: usize) -> Verifier {
    let guard = ReplayGuard::new(capacity);
    verifier_builder().replay_guard(guard).build().unwrap()
}

fn through(layer: &AtiLayer, token: &str) -> Answer {
    let inner = Inner::new();
    let answer = send(layer.layer(inner.clone()), bearing(PATH, token));
    assert_eq!(inner.count() == 1, answer.status == 200, "{answer:?}");
    answer
}

#[test]
fn a_token_that_is_good_once_is_accepted_once() {
    let layer = AtiLayer::new(once(10));
    let first = token(agent());
    assert_eq!(through(&layer, &first).status, 200);
    for layer in [&layer, &layer.clone()] {
        let answer = through(layer, &first);
        answer.expect_refusal(401, "was used before", "twice");
        assert!(answer.headers.contains_key(WWW_AUTHENTICATE));
    }
    assert_eq!(through(&layer, &token(agent())).status, 200);
}

#[test]
fn layers_with_one_verifier_share_what_it_remembers() {
    let verifier = once(10);
    let token = token(agent().scope("*"));
    let (first, second) = (
        AtiLayer::new(verifier.clone()),
        AtiLayer::new(verifier).scope("tool:x"),
    );
    assert_eq!(through(&first, &token).status, 200);
    assert_eq!(through(&second, &token).status, 401);
}

#[test]
fn a_guard_without_room_is_a_503() {
    let layer = AtiLayer::new(once(1));
    let first = token(agent());
    assert_eq!(through(&layer, &first).status, 200);
    let answer = through(&layer, &token(agent()));
    answer.expect_refusal(503, "try again later", "full");
    assert_eq!(answer.header(RETRY_AFTER), None);
    assert!(!answer.headers.contains_key(WWW_AUTHENTICATE));
    // A full guard still knows the tokens that it has seen.
    assert_eq!(through(&layer, &first).status, 401);
}

#[test]
fn a_token_that_is_remembered_is_still_looked_at() {
    let cache = VerifiedCache::new(10);
    let verifier = verifier_builder()
        .leeway(Duration::ZERO)
        .cache(cache)
        .build()
        .unwrap();
    let layer = AtiLayer::new(verifier.clone());
    for _ in 0..3 {
        assert_eq!(through(&layer, any_token()).status, 200);
    }
    assert_eq!(verifier.cache().unwrap().len(), 1);
    // A token that is only similar is not found in the cache.
    for token in [format!("{}A", any_token()), any_token().to_lowercase()] {
        assert_eq!(through(&layer, &token).status, 401);
    }
    // A cached token is refused after it expired.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let short = token(agent().issued_at(now).expires_at(now + 1));
    assert_eq!(through(&layer, &short).status, 200);
    std::thread::sleep(Duration::from_millis(2100));
    through(&layer, &short).expect_refusal(401, "expired", "remembered");
}
