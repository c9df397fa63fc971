//! The limits of an organization, and those that its operator alone may pass.

use std::num::NonZeroU64;

use atlasent_authority::RedbStore;
use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use reqwest::Method;
use serde_json::json;

use super::support::{ACME, Folder, GLOBEX};
use crate::support::{KEY, Served, deploy, on_disk, stored, with};

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @approvers("role:sre")
    forbid (principal, action, resource);
"#;

#[tokio::test]
async fn all_keys_of_an_organization_share_its_rate() {
    let folder = Folder::new();
    folder.change("acme", |acme| {
        acme.limits.rate_limit_per_minute = NonZeroU64::new(5);
    });
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let mut allowed = 0;
    let refused = loop {
        let answer = acme.evaluate(&deploy()).await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.header("x-ratelimit-limit"), Some("5"));
        allowed += 1;
    };
    // The minute may end in between.
    assert!((5..=10).contains(&allowed), "{allowed}");
    refused.is_problem(429, "RATE_LIMITED");
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert!(refused.text.contains("organization"), "{}", refused.text);
    globex.token().await;

    folder.change("acme", |acme| acme.limits.rate_limit_per_minute = None);
    acme.until(|answer| answer.status == 200).await;
}

#[tokio::test]
async fn an_organization_has_a_limited_number_of_unused_permits() {
    let folder = Folder::new();
    folder.change("acme", |acme| acme.limits.max_permits = NonZeroU64::new(2));
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let first = acme.token().await;
    acme.token().await;
    let refused = acme.evaluate(&deploy()).await.json();
    assert_eq!(
        refused["deny_code"], "ORGANIZATION_PERMIT_LIMIT",
        "{refused}"
    );
    assert_eq!(refused["permit_token"], json!(null));
    for _ in 0..3 {
        globex.token().await;
    }
    assert_eq!(acme.verify(&first).await.json()["valid"], true);
    acme.token().await;
    // A raised limit applies from the next request on.
    folder.change("acme", |acme| acme.limits.max_permits = NonZeroU64::new(3));
    acme.until(|answer| answer.json()["decision"] == "allow")
        .await;
}

#[tokio::test]
async fn the_pending_decisions_of_an_organization_are_limited() {
    let folder = Folder::new();
    for org in ["acme", "globex"] {
        folder.write_policies(org, HOLDS);
    }
    folder.change("acme", |acme| {
        acme.limits.max_approvals = NonZeroU64::new(2);
    });
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let deploy_as = |agent: &str| with(deploy(), &json!({"actor_id": agent}));
    for agent in ["a", "b"] {
        let held = acme.evaluate(&deploy_as(agent)).await.json();
        assert_eq!(held["decision"], "hold", "{held}");
    }
    let refused = acme.evaluate(&deploy_as("c")).await.json();
    assert_eq!(refused["deny_code"], "APPROVAL_LIMIT", "{refused}");
    assert_eq!(refused["permit_token"], json!(null));
    // The limit includes decisions that are opened by hand.
    let by_hand = json!({"agent_id": "c", "escalation_reason": "r",
        "proposed_action": {"action_type": "deploy"}});
    let refused = acme.post("/v1/hitl", &by_hand).await;
    refused.is_problem(422, "INVALID_FIELD");
    for agent in ["a", "b", "c"] {
        let held = globex.evaluate(&deploy_as(agent)).await.json();
        assert_eq!(held["decision"], "hold", "{held}");
    }
    // A raised limit applies from the next request on.
    folder.change("acme", |acme| {
        acme.limits.max_approvals = NonZeroU64::new(3);
    });
    acme.until(|answer| answer.json()["decision"] == "hold")
        .await;
}

#[tokio::test]
async fn an_organization_keeps_a_limited_number_of_events() {
    let folder = Folder::new();
    folder.change("acme", |acme| acme.limits.max_events = NonZeroU64::new(4));
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let token = acme.token().await;
    for _ in 0..2 {
        acme.token().await;
    }
    acme.evaluate(&deploy())
        .await
        .is_problem(507, "STORAGE_LIMIT");
    // What frees an organization from its trouble still works.
    let stop = json!({"all": true, "reason": "full"});
    assert_eq!(acme.post("/v1/stops", &stop).await.status, 200);
    assert_eq!(
        acme.verify(&token).await.json()["verify_error_code"],
        "STOPPED"
    );
    for _ in 0..5 {
        globex.token().await;
    }
}

#[tokio::test]
async fn a_backup_of_all_organizations_takes_a_scope_of_its_own() {
    let folder = Folder::new();
    let all = |key: &str| {
        let mut key = stored(key);
        key.scopes = ApiScope::ALL.to_vec();
        key
    };
    let operator = "ask_test_operator-0123456789";
    let mut of_acme = all(ACME);
    of_acme.org_id = super::support::id("acme");
    let keys = || ApiKeys::new([all(operator), of_acme.clone(), stored(KEY)]);
    let ring = || KeyRing::in_memory().unwrap();
    let authority = on_disk(folder.path()).await;
    let server = Server::<RedbStore>::new(authority, keys(), ring());
    let served = Served::run(server.organizations(folder.hosting().await)).await;
    let backup = async |key| {
        let caller = served.caller(key);
        caller.send(Method::POST, "/v1/store/backup", None).await
    };
    backup(KEY).await.is_problem(403, "INSUFFICIENT_SCOPE");
    backup(ACME).await.is_problem(501, "BACKUP_UNSUPPORTED");
    // Also without a registry: the file has both organizations.
    served.caller(ACME).token().await;
    served.stop().await.unwrap().unwrap();
    let authority = on_disk(folder.path()).await;
    let served = Served::run(Server::new(authority, keys(), ring())).await;
    let local = served.caller(KEY);
    let refused = local.send(Method::POST, "/v1/store/backup", None).await;
    refused.is_problem(403, "INSUFFICIENT_SCOPE");
    let whole = served.caller(operator);
    let request = (served.bare(Method::POST, "/v1/store/backup"))
        .header("authorization", format!("Bearer {}", whole.key));
    assert_eq!(request.send().await.unwrap().status(), 200);
}
