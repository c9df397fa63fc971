//! What is counted for one organization is not counted for another, except wrong keys, which are
//! counted by address because they belong to no organization.

use std::num::NonZeroU64;

use atlasent_authority::LocalAuthority;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use reqwest::Method;
use serde_json::json;

use super::{ORGS, same_keys};
use crate::organizations::support::Folder;
use crate::support::{Answer, Served, Time, deploy, policies};

/// A server whose keys may make five calls a minute, and whose agents may have two permits. Its
/// clock stands still.
async fn limited(folder: &Folder) -> Served {
    let authority = LocalAuthority::builder(policies())
        .permits_per_agent(NonZeroU64::new(2).unwrap())
        .clock(Time::new().clock())
        .build()
        .await
        .unwrap();
    let keys = same_keys().into_iter().map(|mut key| {
        key.rate_limit_per_minute = 5;
        key
    });
    let server = Server::new(authority, ApiKeys::new(keys), KeyRing::in_memory().unwrap());
    Served::run(server.organizations(folder.hosting().await)).await
}

#[tokio::test]
async fn calls_of_keys_with_one_id_are_counted_apart() {
    let folder = Folder::new();
    let served = limited(&folder).await;
    for (_, key) in ORGS {
        let caller = served.caller(key);
        for left in (0..5).rev() {
            let answer = caller.get("/v1/stops").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let remaining = answer.header("x-ratelimit-remaining").unwrap();
            assert_eq!(remaining, left.to_string());
        }
        caller
            .get("/v1/stops")
            .await
            .is_problem(429, "RATE_LIMITED");
    }
}

#[tokio::test]
async fn permits_of_agents_with_one_name_are_counted_apart() {
    let folder = Folder::new();
    let served = limited(&folder).await;
    for (org, key) in ORGS {
        let caller = served.caller(key);
        for _ in 0..2 {
            caller.token().await;
        }
        let refused = caller.evaluate(&deploy()).await.json();
        assert_eq!(refused["decision"], "deny", "{org}: {refused}");
    }
}

#[tokio::test]
async fn wrong_keys_are_counted_by_address_and_hold_up_no_right_key() {
    let folder = Folder::new();
    let served = limited(&folder).await;
    let wrong = async || {
        let request = served.bare(Method::GET, "/v1/stops");
        let request = request.header("authorization", "Bearer ask_test_wrong-0123456789");
        Answer::receive(request).await.status
    };
    let mut statuses = Vec::new();
    for _ in 0..61 {
        statuses.push(wrong().await);
    }
    assert_eq!((statuses[0], statuses[60]), (401, 429));
    for (_, key) in ORGS {
        assert_eq!(served.caller(key).get("/v1/stops").await.status, 200);
    }
}

#[tokio::test]
async fn a_stop_of_one_organization_leaves_the_permits_per_agent_of_another() {
    let folder = Folder::new();
    let served = limited(&folder).await;
    let [local, acme, globex] = ORGS.map(|(_, key)| served.caller(key));
    let token = acme.token().await;
    for other in [local, globex] {
        other.token().await;
        let stop = json!({"all": true, "reason": "r"});
        assert_eq!(other.post("/v1/stops", &stop).await.status, 200);
    }
    acme.token().await;
    assert_eq!(acme.evaluate(&deploy()).await.json()["decision"], "deny");
    assert_eq!(acme.verify(&token).await.json()["valid"], true);
}
