//! Tests who may decide a pending decision over HTTP, pass it on or end it, and that nobody decides
//! for themselves.

use atlasent_authority::keys::{ApiKey, ApiScope};
use serde_json::{Value, json};

use crate::hitl::{
    ALICE, BOB, EVE, HOLDS, OTHER_BOT, approver_key, get, held, keys, post, question, serve_keys,
    vote,
};
use crate::support::{KEY, Served, stored};

/// The API key of carol, who both asks and approves.
const CAROL: &str = "ask_test_ca201ca202ca203ca204ca205ca206ca";

fn carol() -> ApiKey {
    let mut key = approver_key(CAROL, "carol", "sre");
    key.scopes.push(ApiScope::Evaluate);
    key
}

/// The API key of ian, whom no policy names.
const IAN: &str = "ask_test_1a201a1a202a1a203a1a204a1a205a1a";

/// The API key of dana, who may vote after the first escalation.
const DANA: &str = "ask_test_da201da202da203da204da205da206da";

async fn serve() -> Served {
    let mut keys = keys();
    keys.push(carol());
    keys.push(approver_key(IAN, "ian", "intern"));
    keys.push(approver_key(DANA, "dana", "director"));
    let policies = HOLDS.replace(
        "@quorum(\"2\")",
        "@quorum(\"2\") @escalate_to(\"role:director, then role:cto\")",
    );
    serve_keys(&policies, keys, 64).await
}

async fn ask(served: &Served, key: &str, commit: &str) -> Value {
    post(served, key, "/v1-evaluate", question(commit))
        .await
        .json()
}

#[tokio::test]
async fn nobody_gets_a_permit_by_an_approval_of_their_own() {
    let served = serve().await;
    // Who asks first cannot vote.
    let own = ask(&served, CAROL, "1").await["escalation_id"].clone();
    let own = own.as_str().unwrap();
    vote(&served, CAROL, own, "approve")
        .await
        .is_problem(403, "SELF_APPROVAL");

    // Who votes first cannot ask.
    let id = held(&served, "2").await;
    for key in [CAROL, ALICE] {
        assert_eq!(vote(&served, key, &id, "approve").await.status, 200);
    }
    let denied = ask(&served, CAROL, "2").await;
    assert_eq!(denied["decision"], "deny", "{denied}");
    assert_eq!(denied["deny_code"], "SELF_APPROVAL", "{denied}");
    assert_eq!(denied.get("permit_token"), None, "{denied}");
    let text = denied["reason"].as_str().unwrap();
    assert!(text.contains("`carol` approved this"), "{text}");
    let allowed = ask(&served, KEY, "2").await;
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    assert_eq!(allowed["escalation_id"], json!(id));

    // Nor by a grant for any context.
    let id = held(&served, "3").await;
    let grant = json!({"grant_seconds": 300, "grant_times": 9});
    for key in [CAROL, BOB] {
        let path = format!("/v1/hitl/{id}/approve");
        let voted = post(&served, key, &path, grant.clone()).await;
        assert_eq!(voted.status, 200, "{}", voted.text);
    }
    for commit in ["3", "4"] {
        let refused = ask(&served, CAROL, commit).await;
        assert_ne!(refused["decision"], "allow", "{refused}");
        assert_eq!(refused.get("permit_token"), None, "{refused}");
    }
    let allowed = ask(&served, KEY, "4").await;
    assert_eq!(allowed["decision"], "allow", "{allowed}");
}

/// Ends a decision.
async fn time_out(served: &Served, key: &str, id: &str) -> crate::support::Answer {
    post(served, key, &format!("/v1/hitl/{id}/timeout"), json!({})).await
}

#[tokio::test]
async fn only_those_who_could_decide_a_held_request_pass_it_on() {
    let served = serve().await;
    let id = held(&served, "1").await;
    for (key, code) in [
        (KEY, "INSUFFICIENT_SCOPE"),
        (EVE, "NOT_AN_APPROVER"),
        (IAN, "NOT_AN_APPROVER"),
        // Her step is the next one.
        (DANA, "NOT_AN_APPROVER"),
    ] {
        vote(&served, key, &id, "escalate")
            .await
            .is_problem(403, code);
    }
    vote(&served, OTHER_BOT, &id, "escalate")
        .await
        .is_problem(404, "ESCALATION_NOT_FOUND");
    // An approver does not widen a question of her own.
    let own = ask(&served, CAROL, "2").await["escalation_id"].clone();
    let own = own.as_str().unwrap();
    vote(&served, CAROL, own, "escalate")
        .await
        .is_problem(403, "SELF_APPROVAL");
    for id in [&*id, own] {
        let row = get(&served, ALICE, &format!("/v1/hitl/{id}")).await.json();
        assert_eq!(row["status"], "pending", "{row}");
        assert_eq!(row["escalation_depth"], 0, "{row}");
    }

    let row = vote(&served, ALICE, &id, "escalate").await.json();
    assert_eq!(row["status"], "escalated", "{row}");
    let chain = get(&served, ALICE, &format!("/v1/hitl/{id}/chain")).await;
    assert_eq!(chain.json()["chain"][0]["escalated_by"], "alice");
    let row = vote(&served, DANA, &id, "escalate").await.json();
    assert_eq!(row["escalation_depth"], 2, "{row}");
    vote(&served, ALICE, &id, "escalate")
        .await
        .is_problem(409, "ESCALATION_CHAIN_EXHAUSTED");
    vote(&served, BOB, &id, "reject").await;
    vote(&served, ALICE, &id, "escalate")
        .await
        .is_problem(409, "ESCALATION_CLOSED");
}

#[tokio::test]
async fn a_held_request_is_ended_by_those_who_could_decide_it_and_those_who_asked() {
    let served = serve().await;
    let id = held(&served, "1").await;
    for key in [EVE, IAN, DANA] {
        time_out(&served, key, &id)
            .await
            .is_problem(403, "NOT_AN_APPROVER");
    }
    time_out(&served, OTHER_BOT, &id)
        .await
        .is_problem(404, "ESCALATION_NOT_FOUND");
    let row = get(&served, ALICE, &format!("/v1/hitl/{id}")).await.json();
    assert_eq!(row["status"], "pending", "{row}");

    // Ending it again changes nothing.
    for key in [ALICE, BOB, KEY] {
        let row = time_out(&served, key, &id).await.json();
        assert_eq!(row["status"], "timed_out", "{row}");
    }
    let id = held(&served, "2").await;
    assert_eq!(
        time_out(&served, KEY, &id).await.json()["status"],
        "timed_out"
    );
    let own = ask(&served, CAROL, "3").await["escalation_id"].clone();
    let ended = time_out(&served, CAROL, own.as_str().unwrap()).await;
    assert_eq!(ended.json()["status"], "timed_out");
    let id = held(&served, "4").await;
    for key in [ALICE, BOB] {
        vote(&served, key, &id, "approve").await;
    }
    time_out(&served, ALICE, &id)
        .await
        .is_problem(409, "ESCALATION_CLOSED");
}

#[tokio::test]
async fn each_event_of_a_decision_names_the_key_that_caused_it() {
    let served = serve().await;
    let granted = held(&served, "1").await;
    for (key, verb) in [(ALICE, "escalate"), (ALICE, "approve"), (BOB, "approve")] {
        assert_eq!(vote(&served, key, &granted, verb).await.status, 200);
    }
    let rejected = held(&served, "2").await;
    assert_eq!(vote(&served, BOB, &rejected, "reject").await.status, 200);
    let ended = held(&served, "3").await;
    assert_eq!(time_out(&served, ALICE, &ended).await.status, 200);

    let mut found = Vec::new();
    for event in served.events().await {
        let kind = event["type"].as_str().unwrap().to_owned();
        if !kind.starts_with("approval.") {
            continue;
        }
        let payload = &event["payload"];
        assert_eq!(payload["client"], "127.0.0.1", "{event}");
        assert_eq!(payload["key_environment"], "test", "{event}");
        assert!(payload["x_request_id"].is_string(), "{event}");
        found.push((kind, payload["key_id"].as_str().unwrap().to_owned()));
    }
    let expected = [
        ("approval.requested", KEY),
        ("approval.requested", ALICE),
        ("approval.voted", ALICE),
        ("approval.voted", BOB),
        ("approval.granted", BOB),
        ("approval.requested", KEY),
        ("approval.voted", BOB),
        ("approval.rejected", BOB),
        ("approval.requested", KEY),
        ("approval.expired", ALICE),
    ];
    let expected = expected.map(|(kind, key)| (kind.to_owned(), stored(key).key_id));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn no_text_that_the_chain_keeps_holds_the_key_of_its_caller() {
    let served = serve().await;
    let text = |key: &str| format!("it failed with {key}, twice: {key}");
    let body = json!({"agent_id": "bot", "escalation_reason": text(KEY)});
    let by_hand = post(&served, KEY, "/v1/hitl", body).await.json();
    let by_hand = format!("/v1/hitl/{}", by_hand["id"].as_str().unwrap());
    let mut held_ids = Vec::new();
    for commit in ["1", "2"] {
        held_ids.push(format!("/v1/hitl/{}", held(&served, commit).await));
    }
    let calls = [
        (KEY, format!("{by_hand}/escalate"), "reason"),
        (ALICE, format!("{}/approve", held_ids[0]), "note"),
        (BOB, format!("{}/reject", held_ids[0]), "note"),
        (KEY, format!("{}/timeout", held_ids[1]), "note"),
    ];
    for (key, path, field) in calls {
        let answer = post(&served, key, &path, json!({field: text(key)})).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(!answer.text.contains(key), "{path}: {}", answer.text);
    }
    let allowed = json!({"action_type": "read", "actor_id": "bot"});
    let allowed = post(&served, KEY, "/v1-evaluate", allowed).await.json();
    let token = allowed["permit_token"].as_str().unwrap();
    let revoked = json!({"decision_id": token, "reason": text(KEY)});
    let revoked = post(&served, KEY, "/v1-revoke-permit", revoked).await;
    assert_eq!(revoked.json()["revoked"], true, "{}", revoked.text);

    let events = served.events().await;
    let told = events.iter().filter(|event| {
        let payload = event["payload"].to_string();
        for key in [KEY, ALICE, BOB] {
            assert!(!payload.contains(key), "{event}");
        }
        payload.contains("it failed with …, twice: …")
    });
    // The reason of what was opened by hand is told again where it is passed on.
    assert_eq!(told.count(), 7);
}

#[tokio::test]
async fn what_was_asked_by_hand_is_passed_on_by_its_approvers_and_by_the_caller_that_asked() {
    let served = serve().await;
    let body = json!({"agent_id": "bot", "escalation_reason": "r", "assigned_to_role": "sre"});
    let opened = post(&served, KEY, "/v1/hitl", body).await.json();
    let id = opened["id"].as_str().unwrap();
    let path = format!("/v1/hitl/{id}/escalate");
    let to = |role: &str| json!({"to_role": role});
    post(&served, IAN, &path, to("intern"))
        .await
        .is_problem(403, "NOT_AN_APPROVER");
    time_out(&served, IAN, id)
        .await
        .is_problem(403, "NOT_AN_APPROVER");
    for (key, role) in [(KEY, "director"), (ALICE, "cto")] {
        let row = post(&served, key, &path, to(role)).await.json();
        assert_eq!(row["status"], "escalated", "{row}");
    }
    let row = time_out(&served, DANA, id).await.json();
    assert_eq!(row["status"], "timed_out", "{row}");
}

#[tokio::test]
async fn the_quorum_that_a_program_asks_for_comes_back_and_holds() {
    let served = serve().await;
    for (asked, answered) in [
        (json!({}), ("single_approver", 1, 1, 1)),
        (
            json!({"quorum_required": "two_thirds", "approver_pool_size": 5}),
            ("two_thirds", 4, 5, 4),
        ),
        (
            json!({"quorum_required": "simple_majority", "approver_pool_size": 4, "min_approvers": 2}),
            ("simple_majority", 2, 4, 3),
        ),
        (
            json!({"quorum_required": "unanimous", "approver_pool_size": 2, "min_approvers": 3}),
            ("unanimous", 3, 3, 3),
        ),
        (json!({"min_approvers": 2}), ("single_approver", 2, 2, 2)),
        (
            json!({"quorum_required": "single_approver", "approver_pool_size": 9}),
            ("single_approver", 1, 9, 1),
        ),
    ] {
        let mut body = json!({"agent_id": "bot", "escalation_reason": "r"});
        let members = asked.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        let opened = post(&served, KEY, "/v1/hitl", body).await.json();
        let id = opened["id"].as_str().unwrap();
        let read = get(&served, KEY, &format!("/v1/hitl/{id}")).await.json();
        let (tier, least, pool, required) = answered;
        for row in [opened.clone(), read] {
            assert_eq!(row["quorum_required"], tier, "{asked}: {row}");
            assert_eq!(row["min_approvers"], least, "{asked}: {row}");
            assert_eq!(row["approver_pool_size"], pool, "{asked}: {row}");
            assert_eq!(row["quorum_progress"]["required"], required, "{asked}");
        }
        let row = vote(&served, ALICE, id, "approve").await.json();
        let is_approved = row["status"] == "approved";
        assert_eq!(is_approved, required == 1, "{asked}: {row}");
        let votes = get(&served, ALICE, &format!("/v1/hitl/{id}/approvals")).await;
        assert_eq!(votes.json()["approvals"][0]["quorum_at_vote"], tier);
    }
    for bad in [
        json!({"quorum_required": "unanimous", "approver_pool_size": 101}),
        json!({"quorum_required": "most"}),
        json!({"min_approvers": 101}),
    ] {
        let mut body = json!({"agent_id": "bot", "escalation_reason": "r"});
        let members = bad.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        let answer = post(&served, KEY, "/v1/hitl", body).await;
        answer.is_problem(422, "INVALID_FIELD");
    }
}
