//! The policies of an organization: loaded when first asked for, watched, and dropped from memory.

use std::num::NonZeroUsize;

use atlasent_authority::{MemoryStore, RedbStore};
use serde_json::json;

use super::support::{ACME, Folder, GLOBEX};
use crate::support::{KEY, POLICIES, deploy, ms};

const NOTHING: &str = "forbid (principal, action, resource);";

#[tokio::test]
async fn new_policies_of_one_organization_are_its_own() {
    let folder = Folder::new();
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let of_acme = acme.token().await;
    let of_globex = globex.token().await;
    folder.write_policies("acme", NOTHING);
    acme.until(|answer| answer.json()["decision"] == "deny")
        .await;
    let refused = acme.verify(&of_acme).await.json();
    assert_eq!(refused["verify_error_code"], "POLICY_CHANGED");
    assert_eq!(globex.verify(&of_globex).await.json()["valid"], true);
    let loaded = ["policy.loaded", "evaluate.allow", "permit.verified"];
    assert_eq!(globex.events().await, loaded);
}

#[tokio::test]
async fn an_organization_without_valid_policies_decides_nothing() {
    for broken in [Some("permit (principal"), None] {
        let folder = Folder::new();
        match broken {
            Some(text) => folder.write_policies("acme", text),
            None => std::fs::remove_dir_all(folder.path().join("acme")).unwrap(),
        }
        let served = folder.serve().await;
        let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
        let refused = acme.evaluate(&deploy()).await;
        refused.is_problem(503, "POLICIES_UNAVAILABLE");
        let metrics = served.caller(KEY).get("/metrics").await.text;
        let counted = "atlasent_policy_reloads_total{outcome=\"refused\"} ";
        assert!(metrics.contains(counted), "{metrics}");
        let batch = json!({"items": [deploy()]});
        for (target, body) in [
            ("/v1-evaluate-stream", &deploy()),
            ("/v1/evaluate/batch", &batch),
            ("/v1-verify-permit", &json!({"permit_token": "x"})),
        ] {
            acme.post(target, body)
                .await
                .is_problem(503, "POLICIES_UNAVAILABLE");
        }
        // Everything else works.
        let stop = json!({"all": true, "reason": "policies are broken"});
        let stop = acme.post("/v1/stops", &stop).await.json();
        let path = format!("/v1/stops/{}", stop["id"].as_str().unwrap());
        let lifted = acme
            .send(
                reqwest::Method::DELETE,
                &path,
                Some(&json!({"reason": "r"})),
            )
            .await;
        assert_eq!(lifted.status, 200, "{}", lifted.text);
        assert_eq!(
            acme.events().await,
            ["policy.error", "stop.set", "stop.lifted"]
        );
        globex.token().await;

        folder.write_policies("acme", POLICIES);
        acme.until(|answer| answer.status == 200).await;
        assert_eq!(acme.events().await[3], "policy.loaded");
        // Policies that become invalid later leave the former ones in force.
        folder.write_policies("acme", "permit (");
        for _ in 0..200 {
            if acme.events().await.last().unwrap() == "policy.error" {
                break;
            }
            tokio::time::sleep(ms(50)).await;
        }
        acme.token().await;
    }
}

#[tokio::test]
async fn an_organization_that_left_the_memory_comes_back_as_it_was() {
    let folder = Folder::new();
    let disk = tempfile::tempdir().unwrap();
    let redb = RedbStore::open(disk.path().join("store")).unwrap();
    let one = NonZeroUsize::MIN;
    let memory = folder
        .serve_on(MemoryStore::new(), |hosting| hosting.max_loaded(one))
        .await;
    let on_disk = folder
        .serve_on(redb, |hosting| hosting.max_loaded(one).idle(ms(0)))
        .await;
    for served in [memory, on_disk] {
        let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
        let token = acme.token().await;
        for _ in 0..3 {
            globex.token().await;
            acme.token().await;
        }
        tokio::time::sleep(ms(2_100)).await;
        assert_eq!(acme.verify(&token).await.json()["valid"], true);
        assert_eq!(
            acme.verify(&token).await.json()["verify_error_code"],
            "PERMIT_ALREADY_USED"
        );
        let loaded = acme.events().await;
        let loaded = loaded.iter().filter(|kind| *kind == "policy.loaded");
        assert_eq!(loaded.count(), 1);
    }
}

#[tokio::test]
async fn policies_that_stay_invalid_are_recorded_once_and_load_nothing_again() {
    let folder = Folder::new();
    folder.write_policies("acme", "permit (");
    let served = folder
        .serve_on(MemoryStore::new(), |hosting| hosting.idle(ms(0)))
        .await;
    let acme = served.caller(ACME);
    for _ in 0..2 {
        let refused = acme.evaluate(&deploy()).await;
        refused.is_problem(503, "POLICIES_UNAVAILABLE");
        // Meanwhile it leaves the memory.
        tokio::time::sleep(ms(3_000)).await;
    }
    assert_eq!(acme.events().await, ["policy.error"]);
    folder.write_policies("acme", POLICIES);
    acme.until(|answer| answer.status == 200).await;
    let events = acme.events().await;
    assert_eq!(events[..2], ["policy.error", "policy.loaded"]);
}

#[tokio::test]
async fn policies_that_changed_while_an_organization_was_not_in_memory_count() {
    let folder = Folder::new();
    let one = NonZeroUsize::MIN;
    let served = folder
        .serve_on(MemoryStore::new(), |hosting| hosting.max_loaded(one))
        .await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let token = acme.token().await;
    globex.token().await;
    tokio::time::sleep(ms(100)).await;
    folder.write_policies("acme", NOTHING);
    let refused = acme.verify(&token).await.json();
    if refused["verify_error_code"] != "POLICY_CHANGED" {
        // The organization was still in memory, and has not read its folder again yet.
        acme.until(|answer| answer.json()["decision"] == "deny")
            .await;
    }
    acme.until(|answer| answer.json()["decision"] == "deny")
        .await;
    let events = acme.events().await;
    assert_eq!(
        events
            .iter()
            .filter(|kind| *kind == "policy.loaded")
            .count(),
        2,
        "{events:?}"
    );
}

#[tokio::test]
async fn requests_that_arrive_together_load_the_policies_once() {
    let folder = Folder::new();
    let served = folder.serve().await;
    let acme = served.caller(ACME);
    let body = deploy();
    let all = (0..64).map(|_| acme.evaluate(&body));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.json()["decision"], "allow");
    }
    let events = acme.events().await;
    assert_eq!(
        events
            .iter()
            .filter(|kind| *kind == "policy.loaded")
            .count(),
        1
    );
    assert_eq!(events.len(), 65);
}

#[tokio::test]
async fn metrics_and_readiness_tell_nothing_of_an_organization_but_its_id() {
    let folder = Folder::new();
    let served = folder.serve().await;
    let secret = r#"permit (principal, action == Action::"acme-only", resource);"#;
    folder.write_policies("acme", secret);
    let body = crate::support::evaluate_body("acme-only");
    served.caller(ACME).evaluate(&body).await;
    served.caller(GLOBEX).token().await;
    let metrics = served.caller(KEY).get("/metrics").await.text;
    assert!(
        metrics.contains(
            r#"atlasent_organization_decisions_total{organization="acme",decision="allow"} 1"#
        ),
        "{metrics}"
    );
    assert!(!metrics.contains("acme-only"), "{metrics}");
    for org in ["local", "acme", "globex"] {
        let open = format!(r#"atlasent_approvals_open{{organization="{org}"}} 0"#);
        assert!(metrics.contains(&open), "{open}: {metrics}");
    }
    let ready = served.caller(KEY).get("/readyz").await.text;
    assert!(
        !ready.contains("acme") && !ready.contains("globex"),
        "{ready}"
    );
}
