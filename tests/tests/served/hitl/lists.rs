//! Lists and counts of pending decisions.

use atlasent::wire::EscalationFilter;
use futures_util::TryStreamExt;
use serde_json::json;

use super::{ALICE, client, get, held, post, serve, vote};
use crate::support::KEY;

#[tokio::test]
async fn pages_hold_every_decision_once_the_newest_first() {
    let served = serve().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(held(&served, &number.to_string()).await);
    }
    vote(&served, ALICE, &ids[3], "reject").await;
    ids.reverse();
    let listed = client(&served, ALICE).escalation_stream(EscalationFilter::default().limit(2));
    let listed: Vec<_> = listed.try_collect().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|row| row.id).collect();
    assert_eq!(listed, ids);
    let pending = get(&served, ALICE, "/v1/hitl?status=pending").await.json();
    assert_eq!(
        (pending["total"].clone(), pending.get("next_cursor")),
        (json!(6), None)
    );
    let rejected = get(&served, ALICE, "/v1/hitl?status=rejected").await.json();
    assert_eq!(rejected["escalations"][0]["id"], ids[3]);
}

#[tokio::test]
async fn clients_can_read_each_answer_with_a_list() {
    let served = serve().await;
    for number in 0..20 {
        let mut body = json!({"agent_id": "bot", "escalation_reason": "why"});
        let text = format!("{number} {}", "\"".repeat(30_000));
        body["proposed_action"] = json!({"action_type": "wipe", "text": text});
        let opened = post(&served, KEY, "/v1/hitl", body).await;
        assert_eq!(opened.status, 200, "{}", opened.text);
    }
    let (mut found, mut cursor) = (0, String::new());
    loop {
        let page = get(&served, ALICE, &format!("/v1/hitl?limit=500{cursor}")).await;
        assert!(page.text.len() < 1_048_576, "{} bytes", page.text.len());
        let page = page.json();
        found += page["escalations"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, 20);
    let alice = client(&served, ALICE);
    let listed = alice.escalation_stream(EscalationFilter::default());
    assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap().len(), 20);
}

#[tokio::test]
async fn pending_decisions_are_a_metric() {
    let served = serve().await;
    let open = async |count: u64| {
        let metrics = get(&served, KEY, "/metrics").await.text;
        let line = format!(r#"atlasent_approvals_open{{organization="local"}} {count}"#);
        assert!(metrics.contains(&line), "{line}: {metrics}");
    };
    open(0).await;
    let mut ids = Vec::new();
    for commit in ["a", "b"] {
        let question = json!({
            "action_type": "deploy", "actor_id": "deploy-bot", "context": {"commit": commit},
        });
        let held = post(&served, KEY, "/v1-evaluate", question).await.json();
        ids.push(held["escalation_id"].as_str().unwrap().to_owned());
    }
    open(2).await;
    let rejected = post(
        &served,
        ALICE,
        &format!("/v1/hitl/{}/reject", ids[0]),
        json!({}),
    )
    .await;
    assert_eq!(rejected.status, 200, "{}", rejected.text);
    open(1).await;
}
