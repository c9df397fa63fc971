//! Decisions that a program opens by hand, without a held request.

use atlasent::wire::{CreateEscalation, EscalationStatus};
use serde_json::{Value, json};

use super::{ALICE, client, get, held, post, serve};
use crate::support::{KEY, stored};

#[tokio::test]
async fn a_decision_that_a_program_opens_by_hand_releases_nothing() {
    let served = serve().await;
    let agent = client(&served, KEY);
    let mut request = CreateEscalation::new("bot", "it cannot be undone");
    let proposed = json!({"action_type": "deploy", "context": {"commit": "4f2a", "cost": 1.5}});
    request.proposed_action = proposed.as_object().cloned();
    request.min_approvers = Some(1);
    request.assigned_to_role = Some("sre".to_owned());
    let opened = agent.create_escalation(&request).await.unwrap();
    assert_eq!(opened.status, EscalationStatus::Pending);
    let approved = client(&served, ALICE)
        .approve(&opened.id, Some("fine"))
        .await
        .unwrap();
    assert!(approved.status.is_approved());
    let waited = agent.escalation(&opened.id).await.unwrap();
    assert!(waited.status.is_approved());
    request.risk_score = Some(0.5);
    let opened = agent.create_escalation(&request).await.unwrap();
    assert_eq!(
        (opened.risk_score, opened.max_escalation_depth),
        (Some(0.5), 3)
    );
    let other = atlasent::wire::EscalateRequest::default().to_role("cto");
    let escalated = agent.escalate(&opened.id, &other).await.unwrap();
    assert_eq!(escalated.status, EscalationStatus::Escalated);
    let chain = agent.escalation_chain(&opened.id).await.unwrap();
    assert_eq!(chain[0].to_role.as_deref(), Some("cto"));
    assert_eq!(chain[0].from_role.as_deref(), Some("sre"));
    held(&served, "4f2a").await;

    for bad in [
        json!({"agent_id": "bot", "escalation_reason": "r", "fallback_decision": "approve"}),
        json!({"agent_id": "", "escalation_reason": "r"}),
        json!({"agent_id": "bot", "escalation_reason": "r", "quorum_required": "most"}),
        json!({"agent_id": "bot", "escalation_reason": "r", "min_approvers": 101}),
        json!({"agent_id": "bot", "escalation_reason": "r", "approver_pool": [], "quorum_threshold": 2}),
        json!({"agent_id": "bot", "escalation_reason": "r", "timeout_at": "2020-01-01T00:00:00Z"}),
    ] {
        let answer = post(&served, KEY, "/v1/hitl", bad).await;
        answer.is_problem(422, "INVALID_FIELD");
    }
}

#[tokio::test]
async fn a_decision_is_assigned_to_those_whom_it_was_passed_on_to_last() {
    let served = serve().await;
    let body = json!({"agent_id": "bot", "escalation_reason": "why", "assigned_to_role": "sre",
        "assigned_to_user_id": "carol"});
    let row = post(&served, KEY, "/v1/hitl", body).await.json();
    let path = format!("/v1/hitl/{}", row["id"].as_str().unwrap());
    let assigned = |row: &Value| {
        [
            row["assigned_to_role"].clone(),
            row["assigned_to_user_id"].clone(),
        ]
    };
    assert_eq!(assigned(&row), [json!("sre"), json!("carol")]);
    let listed = async |person: &str| {
        let target = format!("/v1/hitl?assigned_to_user_id={person}");
        get(&served, ALICE, &target).await.json()["total"].clone()
    };
    assert_eq!(
        (listed("carol").await, listed("dora").await),
        (json!(1), json!(0))
    );

    for (to, role, person) in [
        (json!({"to_user_id": "dora"}), json!(null), json!("dora")),
        (
            json!({"to_role": "cto", "to_user_id": "erin"}),
            json!("cto"),
            json!("erin"),
        ),
        (json!({}), json!(null), json!(null)),
    ] {
        let row = post(&served, KEY, &format!("{path}/escalate"), to)
            .await
            .json();
        assert_eq!(assigned(&row), [role, person], "{row}");
    }
    // Those who could decide before still can.
    for person in ["carol", "dora", "erin"] {
        assert_eq!(listed(person).await, 1, "{person}");
    }
    let chain = get(&served, ALICE, &format!("{path}/chain")).await.json();
    let steps = &chain["chain"];
    assert_eq!(steps[0]["from_role"], "sre");
    assert_eq!(steps[0]["from_user_id"], "carol");
    assert_eq!(steps[0]["to_user_id"], "dora");
    assert_eq!(steps[1]["to_role"], "cto");
    assert_eq!(steps[1]["to_user_id"], "erin");
}

#[tokio::test]
async fn a_decision_that_a_person_ended_names_the_person() {
    let served = serve().await;
    for (key, by) in [(ALICE, "alice".to_owned()), (KEY, stored(KEY).key_id)] {
        let id = held(&served, "4f2a").await;
        let row = post(&served, key, &format!("/v1/hitl/{id}/timeout"), json!({})).await;
        assert_eq!(row.json()["resolved_by"], by);
    }
}

#[tokio::test]
async fn a_field_of_a_decision_by_hand_that_is_too_long_is_named() {
    let served = serve().await;
    let long = "x".repeat(513);
    let question = |field: &str, value: Value| {
        let mut body = json!({"agent_id": "bot", "escalation_reason": "why"});
        body[field] = value;
        body
    };
    let cases = [
        (
            "assigned_to_role",
            question("assigned_to_role", json!(long)),
        ),
        (
            "assigned_to_user_id",
            question("assigned_to_user_id", json!(long)),
        ),
        (
            "assigned_to_role",
            question("assigned_to_role", json!("a,b")),
        ),
        (
            "proposed_action.action_type",
            question("proposed_action", json!({"action_type": long})),
        ),
        (
            "proposed_action.resource_id",
            question("proposed_action", json!({"resource_id": long})),
        ),
        (
            "escalation_reason",
            question("escalation_reason", json!("x".repeat(2_001))),
        ),
    ];
    for (field, body) in cases {
        let answer = post(&served, KEY, "/v1/hitl", body).await;
        answer.is_problem(422, "INVALID_FIELD");
        assert!(
            answer.text.contains(&format!("`{field}`")),
            "{field}: {}",
            answer.text
        );
    }
    let opened = post(
        &served,
        KEY,
        "/v1/hitl",
        question("assigned_to_role", json!("sre")),
    )
    .await;
    let id = opened.json()["id"].as_str().unwrap().to_owned();
    for field in ["to_role", "to_user_id"] {
        let path = format!("/v1/hitl/{id}/escalate");
        let answer = post(&served, KEY, &path, json!({field: long})).await;
        answer.is_problem(422, "INVALID_FIELD");
        assert!(
            answer.text.contains(&format!("`{field}`")),
            "{field}: {}",
            answer.text
        );
    }
}
