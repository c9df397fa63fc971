//! Policies that change while they are asked.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlasent_authority::LocalAuthority;
use atlasent_authority::server::{KeyBook, PolicyFolder};
use serde_json::{Value, json};

use crate::stage::{Set, Stage, new_key};

fn write(folder: &Path, replicas: u32) {
    let policies = format!(
        r#"@id("deployers") permit (principal, action == Action::"deploy", resource);
           @id("limit") @reason("{replicas}")
           forbid (principal, action == Action::"deploy", resource) when {{ context.replicas > {replicas} }};"#
    );
    // Moved into its place, as a deployment does.
    fs::write(folder.join("new"), policies).unwrap();
    fs::rename(folder.join("new"), folder.join("limits.cedar")).unwrap();
}

async fn stage(folder: &Path) -> Stage {
    let (policies, watched) = PolicyFolder::load(folder).unwrap();
    let (key, secret) = new_key();
    let mut set = Set::new(LocalAuthority::in_memory(policies).unwrap());
    set.keys = KeyBook::of([key]);
    set.folder = Some(watched);
    set.serve(&secret).await
}

async fn wait_for(stage: &Stage, kind: &str, count: u64) {
    for _ in 0..300 {
        if stage.events(kind).await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {kind}");
}

fn deploy(replicas: u32) -> Value {
    json!({ "action_type": "deploy", "actor_id": "bot", "context": { "replicas": replicas } })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_under_load_is_by_the_old_policies_or_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 10);
    let stage = stage(folder.path()).await;
    assert_eq!(stage.evaluate(deploy(20)).await.body["decision"], "deny");
    let over = AtomicBool::new(false);
    let asking = (0..8).map(|_| async {
        let mut answers = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let said = stage.evaluate(deploy(20)).await;
            assert_eq!(said.status, 200);
            answers.push(said.body["decision"].as_str().unwrap().to_owned());
        }
        answers
    });
    let changing = async {
        for (n, replicas) in [30, 10, 30].into_iter().enumerate() {
            write(folder.path(), replicas);
            wait_for(&stage, "policy.loaded", n as u64 + 2).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        over.store(true, Ordering::SeqCst);
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asking), changing);
    for answers in answers {
        assert!(
            answers
                .iter()
                .all(|decision| decision == "deny" || decision == "allow")
        );
        assert_eq!(answers.last().map(String::as_str), Some("allow"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_set_is_refused_with_its_place_and_the_former_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 10);
    let stage = stage(folder.path()).await;
    fs::write(
        folder.path().join("worse.cedar"),
        "permit (\n  principal,\n  acton);",
    )
    .unwrap();
    wait_for(&stage, "policy.error", 1).await;
    let page = stage.get("/v1-audit/events?types=policy.error").await.body;
    let problem = page["events"][0]["payload"]["problems"][0]
        .as_str()
        .unwrap();
    assert!(problem.starts_with("worse.cedar:3:"), "{problem}");
    assert_eq!(stage.evaluate(deploy(5)).await.body["decision"], "allow");
    assert_eq!(stage.evaluate(deploy(20)).await.body["decision"], "deny");
    // It is refused once, and not again and again.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(stage.events("policy.error").await, 1);

    fs::remove_file(folder.path().join("worse.cedar")).unwrap();
    write(folder.path(), 30);
    wait_for(&stage, "policy.loaded", 2).await;
    assert_eq!(stage.evaluate(deploy(20)).await.body["decision"], "allow");
    let metrics = stage.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"atlasent_policy_reloads_total{outcome="refused"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 10);
    let stage = stage(folder.path()).await;
    fs::remove_dir_all(folder.path()).unwrap();
    wait_for(&stage, "policy.error", 1).await;
    assert_eq!(stage.evaluate(deploy(5)).await.body["decision"], "allow");
}
