//! Clocks that jump: no permit is good beyond its time, and the chain still verifies.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::audit::{BundleVerifier, TrustedKeys};
use atlasent_authority::LocalAuthority;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::stage::{Stage, policies};

const NOON: i64 = 1_800_000_000;

struct Clock(Arc<AtomicI64>);

impl Clock {
    fn set(&self, seconds: i64) {
        self.0.store(NOON + seconds, Ordering::SeqCst);
    }
}

async fn stage() -> (Stage, Clock) {
    let time = Arc::new(AtomicI64::new(NOON));
    let clock = Arc::clone(&time);
    let authority = LocalAuthority::builder(policies())
        .clock(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap())
        .permit_ttl(Duration::from_secs(60))
        .build()
        .await
        .unwrap();
    (Stage::with(authority).await, Clock(time))
}

async fn outcome(stage: &Stage, token: &str) -> Value {
    stage.verify(json!({ "permit_token": token })).await["outcome"].clone()
}

#[tokio::test]
async fn a_permit_ends_with_its_time() {
    let (stage, clock) = stage().await;
    let said = stage
        .evaluate(json!({ "action_type": "deploy", "actor_id": "bot" }))
        .await;
    let expires_at: Timestamp = said.body["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires_at.as_second(), NOON + 60);
    let (in_time, late) = (stage.permit(json!({})).await, stage.permit(json!({})).await);
    clock.set(59);
    assert_eq!(outcome(&stage, &in_time).await, "allow");
    clock.set(60);
    assert_eq!(outcome(&stage, &late).await, "permit_expired");
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_permit_good_again() {
    let (stage, clock) = stage().await;
    let token = stage.permit(json!({})).await;
    clock.set(100);
    assert_eq!(outcome(&stage, &token).await, "permit_expired");
    clock.set(10);
    assert_eq!(outcome(&stage, &token).await, "permit_expired");
    // A new one is good for as long as ever in the chain's time, which stands until the clock has caught up.
    let token = stage.permit(json!({})).await;
    clock.set(159);
    assert_eq!(outcome(&stage, &token).await, "allow");
    whole(&stage).await;
}

#[tokio::test]
async fn the_chain_verifies_however_the_clock_jumps() {
    let (stage, clock) = stage().await;
    for seconds in [0, 10_000_000, -10_000_000, 5, i64::from(u32::MAX), 0, -NOON] {
        clock.set(seconds);
        let token = stage.permit(json!({})).await;
        assert_eq!(outcome(&stage, &token).await, "allow", "{seconds}");
    }
    whole(&stage).await;
}

async fn whole(stage: &Stage) {
    let export = stage.post("/v1-audit/exports", &json!({})).await.text;
    let report = BundleVerifier::new(&TrustedKeys::new())
        .verify_bytes(&export)
        .unwrap();
    assert!(report.chain.is_intact(), "{:?}", report.chain.findings);
}
