//! Clocks that jump: in the chain's time, which never runs backwards, no permit outlives its
//! lifetime.

use atlasent::audit::BundleVerifier;
use atlasent_authority::LocalAuthority;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{Served, Time, deploy, ms, policies, server, token_of};

const TTL: i64 = 60;

async fn start(time: &Time) -> Served {
    let authority = LocalAuthority::builder(policies()).clock(time.clock());
    let authority = authority.permit_ttl(ms(60_000)).build().await.unwrap();
    Served::run(server(authority)).await
}

#[tokio::test]
async fn no_permit_lives_longer_than_its_time() {
    let time = Time::new();
    let served = start(&time).await;
    // The time of the request for a permit, the clock's reading in between, and the time of use.
    for (asked, meanwhile, used, good) in [
        (0, 0, 59, true),
        (0, 0, 0, true),
        (100, 50, 100, true),
        (200, 100, 259, true),
        (300, 200, 360, false),
        (400, 1_000, 400, false),
        // The chain's time is now 1000, whatever the clock reads.
        (0, 0, 1_059, true),
        (0, 2_000, 0, false),
        (-1_000_000, 0, 2_059, true),
        (-1_000_000, -2_000_000, -1_000_000, true),
    ] {
        time.set(asked);
        let answer = served.evaluate(&deploy()).await;
        let at = |name: &str| {
            answer.json()[name]
                .as_str()
                .unwrap()
                .parse::<Timestamp>()
                .unwrap()
        };
        assert_eq!(
            at("expires_at").as_second() - at("timestamp").as_second(),
            TTL
        );
        time.set(meanwhile);
        served.evaluate(&deploy()).await;
        time.set(used);
        let json = served
            .verify(&json!({"permit_token": token_of(&answer)}))
            .await
            .json();
        let case = format!("asked at {asked}, then {meanwhile}, used at {used}: {json}");
        assert_eq!(json["valid"], good, "{case}");
        let verified = json["timestamp"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap();
        assert_eq!(verified < at("expires_at"), good, "{case}");
    }
    let events = served.events().await;
    let times: Vec<_> = events
        .iter()
        .map(|event| event["occurred_at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let client = served.client().build().unwrap();
    let keys = client.signing_keys().await.unwrap().trusted().unwrap();
    let bundle = served.post("/v1-audit/exports", &json!({})).await.text;
    assert!(
        BundleVerifier::new(&keys)
            .verify_bytes(&bundle)
            .unwrap()
            .is_intact()
    );
}

#[tokio::test]
async fn an_answer_that_is_forgotten_is_given_anew() {
    let time = Time::new();
    let served = start(&time).await;
    let body = crate::support::with(deploy(), &json!({"request_id": "again"}));
    let first = token_of(&served.evaluate(&body).await);
    time.set(TTL - 1);
    assert_eq!(token_of(&served.evaluate(&body).await), first);
    time.set(TTL);
    let second = token_of(&served.evaluate(&body).await);
    assert_ne!(second, first);
    time.set(0);
    assert_eq!(token_of(&served.evaluate(&body).await), second);
}

#[tokio::test]
async fn signed_documents_have_the_time_of_the_authority() {
    let time = Time::new();
    time.set(-86_400);
    let served = start(&time).await;
    time.set(-86_000);
    let exported = served.post("/v1-audit/exports", &json!({})).await.json();
    let head = served.get("/v1/audit/head").await.json();
    for signed in [exported, head] {
        assert_eq!(
            signed["signed_at"], "2025-12-31T12:06:40.000000Z",
            "{signed}"
        );
    }
}
