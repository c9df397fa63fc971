//! Tests that people decide over HTTP what policies hold (contract, part D, "Approvals").

mod by_hand;
mod lists;

use std::sync::Arc;
use std::time::{Duration, Instant};

use atlasent::wire::EscalationFilter;
use atlasent::{AnyAction, AuthorityExt, Client, Error};
use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{Answer, KEY, Served, settings, stored, with};

pub(crate) const ALICE: &str = "ask_test_a11ce0a11ce1a11ce2a11ce3a11ce4a5";
pub(crate) const BOB: &str = "ask_test_b0b00b0b01b0b02b0b03b0b04b0b05bc";
pub(crate) const EVE: &str = "ask_test_e7e00e7e01e7e02e7e03e7e04e7e05ed";
pub(crate) const OTHER_BOT: &str = "ask_test_07ac0b07ac1b07ac2b07ac3b07ac4b5f";

pub(crate) const HOLDS: &str = r#"
    permit (principal, action, resource);
    @id("four-eyes") @decision("hold") @reason("a release needs two people")
    @approvers("role:sre") @quorum("2") @approval_ttl("1h") @approval_grants("10m")
    forbid (principal, action == Action::"deploy", resource);
"#;

pub(crate) fn approver_key(key: &str, name: &str, role: &str) -> ApiKey {
    let mut key = stored(key);
    key.scopes = ApiScope::APPROVER.to_vec();
    key.approver = Some(Approver::new(name, [role]).unwrap());
    key
}

pub(crate) fn keys() -> Vec<ApiKey> {
    let mut nobody = stored(EVE);
    nobody.scopes = vec![ApiScope::Approve];
    let mut keys = vec![stored(KEY), stored(OTHER_BOT), nobody];
    keys.push(approver_key(ALICE, "alice", "sre"));
    keys.push(approver_key(BOB, "bob", "sre"));
    keys
}

async fn serve_with(concurrency: usize) -> Served {
    serve_keys(HOLDS, keys(), concurrency).await
}

pub(crate) async fn serve_keys(policies: &str, keys: Vec<ApiKey>, concurrency: usize) -> Served {
    let authority = LocalAuthority::builder(Policies::parse(policies).unwrap());
    let authority = authority
        .approval_url("https://approve.example/{id}")
        .build();
    let server = Server::new(
        authority.await.unwrap(),
        ApiKeys::new(keys),
        KeyRing::in_memory().unwrap(),
    );
    let limits = settings(|settings| settings.concurrency = concurrency);
    Served::run(server.settings(limits)).await
}

async fn serve() -> Served {
    serve_with(64).await
}

pub(crate) async fn call(
    served: &Served,
    key: &str,
    method: Method,
    target: &str,
    body: &Value,
) -> Answer {
    let request = served.bare(method, target);
    let request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    let request = request.header(CONTENT_TYPE, "application/json");
    Answer::receive(request.body(body.to_string())).await
}

pub(crate) async fn get(served: &Served, key: &str, target: &str) -> Answer {
    call(served, key, Method::GET, target, &json!({})).await
}

pub(crate) async fn post(served: &Served, key: &str, target: &str, body: Value) -> Answer {
    call(served, key, Method::POST, target, &body).await
}

pub(crate) fn question(commit: &str) -> Value {
    json!({"action_type": "deploy", "actor_id": "bot", "context": {"commit": commit, "cost": 1.5}})
}

/// Asks, and returns the id of the pending decision.
pub(crate) async fn held(served: &Served, commit: &str) -> String {
    let answer = post(served, KEY, "/v1-evaluate", question(commit))
        .await
        .json();
    assert_eq!(answer["decision"], "hold", "{answer}");
    let id = answer["escalation_id"].as_str().unwrap().to_owned();
    assert_eq!(
        answer["approval_url"],
        format!("https://approve.example/{id}")
    );
    id
}

pub(crate) async fn vote(served: &Served, key: &str, id: &str, verb: &str) -> Answer {
    post(
        served,
        key,
        &format!("/v1/hitl/{id}/{verb}"),
        json!({"note": "a note"}),
    )
    .await
}

fn client(served: &Served, key: &str) -> Client {
    let client = Client::builder().base_url(served.url()).api_key(key);
    client.build().unwrap()
}

#[tokio::test]
async fn two_approvers_release_a_held_call_and_the_permit_names_them() {
    let served = serve().await;
    let id = held(&served, "4f2a").await;
    let row = get(&served, ALICE, &format!("/v1/hitl/{id}")).await.json();
    assert_eq!(row["status"], "pending");
    assert_eq!(row["agent_id"], "bot");
    assert_eq!(row["escalation_reason"], "a release needs two people");
    assert_eq!(row["policies"], json!(["four-eyes"]));
    assert_eq!(row["assigned_to_role"], "sre");
    assert_eq!(row["proposed_action"]["context"]["commit"], "4f2a");
    assert!(
        row["shown"].as_str().unwrap().contains(r#""cost":1.5"#),
        "{row}"
    );
    assert_eq!(row["fallback_decision"], "reject");
    let progress = json!({"required": 2, "approved": 0, "rejected": 0, "remaining": 2,
        "satisfied": false, "rejected_terminal": false});
    assert_eq!(row["quorum_progress"], progress);

    assert_eq!(
        vote(&served, ALICE, &id, "approve").await.json()["status"],
        "pending"
    );
    assert_eq!(
        vote(&served, ALICE, &id, "approve").await.status,
        200,
        "the same vote again"
    );
    vote(&served, ALICE, &id, "reject")
        .await
        .is_problem(409, "ALREADY_VOTED");
    assert_eq!(held(&served, "4f2a").await, id);
    let row = vote(&served, BOB, &id, "approve").await.json();
    assert_eq!(
        (&row["status"], &row["resolved_by"]),
        (&json!("approved"), &json!("bob"))
    );

    let votes = get(&served, ALICE, &format!("/v1/hitl/{id}/approvals"))
        .await
        .json();
    let votes = votes["approvals"].as_array().unwrap().clone();
    let who: Vec<_> = votes.iter().map(|vote| &vote["user_id"]).collect();
    assert_eq!(who, ["alice", "bob"]);
    assert_eq!(
        (&votes[0]["decision"], &votes[0]["note"]),
        (&json!("approve"), &json!("a note"))
    );

    let allowed = post(&served, KEY, "/v1-evaluate", question("4f2a"))
        .await
        .json();
    assert_eq!(
        (&allowed["decision"], &allowed["escalation_id"]),
        (&json!("allow"), &json!(id))
    );
    let verify = json!({"permit_token": allowed["permit_token"], "action_type": "deploy", "actor_id": "bot"});
    let verified = post(&served, KEY, "/v1-verify-permit", verify).await.json();
    assert_eq!(verified["valid"], true);
    assert_eq!(verified["approval"]["approval_id"], id);
    assert_eq!(verified["approval"]["reviewer_id"], "alice");
    assert_ne!(held(&served, "4f2a").await, id);
}

#[tokio::test]
async fn a_repeated_allow_names_the_decision_that_released_it() {
    let served = serve().await;
    let id = held(&served, "4f2a").await;
    for key in [ALICE, BOB] {
        assert_eq!(vote(&served, key, &id, "approve").await.status, 200);
    }
    let asked = with(question("4f2a"), &json!({"request_id": "r-1"}));
    let first = post(&served, KEY, "/v1-evaluate", asked.clone()).await;
    assert_eq!(first.json()["escalation_id"], id, "{}", first.text);
    let again = post(&served, KEY, "/v1-evaluate", asked).await;
    assert_eq!(again.json(), first.json());
}

#[tokio::test]
async fn an_agent_sees_what_it_asked_and_decides_nothing() {
    let served = serve().await;
    let id = held(&served, "4f2a").await;
    let path = format!("/v1/hitl/{id}");
    assert_eq!(get(&served, KEY, &path).await.status, 200);
    get(&served, OTHER_BOT, &path)
        .await
        .is_problem(404, "ESCALATION_NOT_FOUND");
    assert_eq!(get(&served, KEY, "/v1/hitl").await.json()["total"], 1);
    assert_eq!(get(&served, OTHER_BOT, "/v1/hitl").await.json()["total"], 0);
    for verb in ["approve", "reject", "escalate"] {
        vote(&served, KEY, &id, verb)
            .await
            .is_problem(403, "INSUFFICIENT_SCOPE");
        vote(&served, EVE, &id, verb)
            .await
            .is_problem(403, "NOT_AN_APPROVER");
    }
    post(&served, ALICE, "/v1-evaluate", question("1"))
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
    let ended = post(&served, KEY, &format!("{path}/timeout"), json!({}))
        .await
        .json();
    assert_eq!(
        (&ended["status"], &ended["expired_reason"]),
        (&json!("timed_out"), &json!("manual_expire"))
    );
    vote(&served, ALICE, &id, "approve")
        .await
        .is_problem(409, "ESCALATION_CLOSED");
    assert_ne!(held(&served, "4f2a").await, id);
}

#[tokio::test]
async fn an_unknown_decision_and_an_invalid_query_are_refused_with_a_reason() {
    let served = serve().await;
    for id in ["esc_0", "x", "%FF", "esc_00000000000000000000000000000000"] {
        for path in ["", "/approvals", "/chain"] {
            let answer = get(&served, ALICE, &format!("/v1/hitl/{id}{path}")).await;
            answer.is_problem(404, "ESCALATION_NOT_FOUND");
        }
        for verb in ["approve", "reject", "escalate", "timeout"] {
            let answer = vote(&served, ALICE, id, verb).await;
            answer.is_problem(404, "ESCALATION_NOT_FOUND");
        }
    }
    let id = held(&served, "4f2a").await;
    for query in ["wait=-1", "wait=x", "wait=1.5"] {
        let answer = get(&served, ALICE, &format!("/v1/hitl/{id}?{query}")).await;
        answer.is_problem(400, "INVALID_QUERY");
    }
    for query in [
        "status=open",
        "limit=0",
        "cursor=x",
        "status=auto_approved&limit=0",
    ] {
        let answer = get(&served, ALICE, &format!("/v1/hitl?{query}")).await;
        answer.is_problem(400, "INVALID_QUERY");
    }
    // A status of the contract that no decision has here.
    let none = get(&served, ALICE, "/v1/hitl?status=auto_approved").await;
    assert_eq!(none.json(), json!({"escalations": [], "total": 0}));
    for verb in ["approve", "reject", "escalate", "timeout"] {
        let body = json!({"note": "x", "api_key": KEY});
        let answer = post(&served, ALICE, &format!("/v1/hitl/{id}/{verb}"), body).await;
        answer.is_problem(401, "API_KEY_MISMATCH");
    }
    let row = get(&served, ALICE, &format!("/v1/hitl/{id}")).await.json();
    assert_eq!(row["status"], "pending");
    let long = json!({"note": "x".repeat(2_001)});
    let answer = post(&served, ALICE, &format!("/v1/hitl/{id}/approve"), long).await;
    answer.is_problem(422, "INVALID_FIELD");
    let step = json!({"to_role": "ceo"});
    let answer = post(&served, ALICE, &format!("/v1/hitl/{id}/escalate"), step).await;
    answer.is_problem(422, "INVALID_FIELD");
    let times = json!({"grant_times": 0});
    let answer = post(&served, ALICE, &format!("/v1/hitl/{id}/approve"), times).await;
    answer.is_problem(422, "INVALID_FIELD");
    let grant = json!({"grant_seconds": 3_600});
    let answer = post(&served, ALICE, &format!("/v1/hitl/{id}/approve"), grant).await;
    answer.is_problem(422, "INVALID_FIELD");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_the_approvers_and_one_of_many_runs_the_body() {
    let served = Arc::new(serve().await);
    let ran = Arc::new(Ran::default());
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (agent, ran) = (client(&served, KEY), Arc::clone(&ran));
            tokio::spawn(async move {
                let action = AnyAction::new("deploy")?.with_field("commit", "4f2a")?;
                let asked = agent.ask("bot", action).wait(Duration::from_secs(60));
                asked
                    .with_permit(async |_| {
                        ran.hit();
                        Ok::<_, Error>(())
                    })
                    .await
            })
        })
        .collect();
    let approvers = [client(&served, ALICE), client(&served, BOB)];
    let id = loop {
        let page = approvers[0]
            .escalations(&EscalationFilter::default())
            .await
            .unwrap();
        if let Some(row) = page.escalations.first() {
            break row.id.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for approver in &approvers {
        approver.approve(&id, None).await.unwrap();
    }
    let mut allowed = 0;
    for task in waiting {
        match task.await.unwrap() {
            Ok(()) => allowed += 1,
            Err(error) => assert!(error.denied().is_some(), "{error}"),
        }
    }
    assert_eq!((allowed, ran.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_requests_take_no_slot_from_the_others() {
    let served = Arc::new(serve_with(2).await);
    let id = held(&served, "4f2a").await;
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let (served, id) = (Arc::clone(&served), id.clone());
            tokio::spawn(async move {
                get(&served, KEY, &format!("/v1/hitl/{id}?wait=60"))
                    .await
                    .json()
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    held(&served, "another").await;
    vote(&served, ALICE, &id, "reject").await;
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap()["status"], "rejected");
    }
    assert!(
        start.elapsed() < Duration::from_secs(50),
        "they waited for their own time"
    );
}

#[tokio::test]
async fn an_approval_for_a_while_releases_calls_with_other_arguments() {
    let served = serve().await;
    let id = held(&served, "1").await;
    let grant = json!({"grant_seconds": 300, "grant_times": 2});
    for key in [ALICE, BOB] {
        let answer = post(
            &served,
            key,
            &format!("/v1/hitl/{id}/approve"),
            grant.clone(),
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for (commit, decision) in [("2", "allow"), ("3", "allow"), ("4", "hold")] {
        let answer = post(&served, KEY, "/v1-evaluate", question(commit))
            .await
            .json();
        assert_eq!(answer["decision"], decision, "{commit}: {answer}");
    }
}

#[tokio::test]
async fn an_approval_for_a_number_of_calls_lasts_as_long_as_the_policy_allows() {
    let served = serve().await;
    let id = held(&served, "1").await;
    let path = format!("/v1/hitl/{id}/approve");
    for (key, times) in [(ALICE, 2), (BOB, 3)] {
        let answer = post(&served, key, &path, json!({"grant_times": times})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for (commit, decision) in [("2", "allow"), ("3", "allow"), ("4", "hold")] {
        let answer = post(&served, KEY, "/v1-evaluate", question(commit)).await;
        assert_eq!(answer.json()["decision"], decision, "{commit}");
    }
}
