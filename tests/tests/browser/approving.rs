//! A held call, from the question to the finished body, decided with a mouse.

use std::sync::Arc;
use std::time::Duration;

use atlasent_tests::assert_in_order;
use serde_json::json;

use crate::support::{ALICE, BOB, IAN, Look, Ran, Served, browser, deploy};

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_runs_once_after_a_click() {
    let Some(alice) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    alice.log_in(&served, ALICE).await;
    alice.sees("Nothing waits for approval.").await;

    let (client, ran) = (Arc::new(served.client()), Arc::new(Ran::default()));
    let (caller, counted) = (Arc::clone(&client), Arc::clone(&ran));
    let call = tokio::spawn(async move { deploy(&caller, &counted, "4f2a9c1").await });
    // The list shows it without being asked.
    alice.sees("deploy.production").await;
    alice.click("#rows tbody a").await;
    alice.sees("What exactly would run").await;
    let page = alice.text().await;
    for shown in [
        "deploy.production by deploy-bot",
        "a deployment to production needs a second pair of eyes",
        "\"commit\": \"4f2a9c1\"",
        "\"replicas\": 3",
        "\"token\": \"[redacted]\"",
        "second-pair-of-eyes in deploy.cedar:5:5",
        "1 approval by role:release-manager",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("hunter2"), "{page}");
    assert_eq!(ran.times(), 0, "nobody has approved yet");

    let note = alice.find("#note").await;
    note.send_keys("the tests passed").await.unwrap();
    alice.click("button[value=approve]").await;
    alice.sees("Outcome").await;
    alice.sees("the tests passed").await;
    let done = tokio::time::timeout(crate::support::PATIENCE, call).await;
    assert_eq!(done.unwrap().unwrap().unwrap(), "deployed 4f2a9c1");
    assert_eq!(ran.times(), 1);

    // The whole story of its permit.
    alice.open(&served, "/console/permits").await;
    alice.click("tbody a").await;
    // The receipt arrives after the result.
    alice.sees_in_time("permit.completed").await;
    alice.sees("The action completed.").await;
    let story = alice.text().await;
    assert_in_order(
        &story,
        &[
            "evaluate.hold",
            "approval.requested",
            "approval.voted",
            "approval.granted",
            "evaluate.allow",
            "permit.verified",
            "permit.completed",
        ],
    );
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_call_never_runs() {
    let Some(alice) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    alice.log_in(&served, ALICE).await;
    let (client, ran) = (served.client(), Arc::new(Ran::default()));
    let counted = Arc::clone(&ran);
    let call = tokio::spawn(async move { deploy(&client, &counted, "bad").await });
    alice.sees("deploy.production").await;
    alice.click("#rows tbody a").await;
    let note = alice.find("#note").await;
    note.send_keys("not on a friday").await.unwrap();
    alice.click("button[value=reject]").await;
    alice.sees("Outcome").await;
    let refused = call.await.unwrap().unwrap_err();
    assert!(
        refused.to_string().contains("was rejected by an approver"),
        "{refused}"
    );
    assert_eq!(ran.times(), 0);
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_person_sees_the_first_vote_and_a_wrong_role_sees_why_not() {
    let (Some(alice), Some(bob), Some(ian)) = (
        browser(Look::default()).await,
        browser(Look::default()).await,
        browser(Look::default()).await,
    ) else {
        return;
    };
    let served = Served::start().await;
    let id = served.held("table.drop", &json!({"table": "users"})).await;
    let path = format!("/console/approvals/{id}");
    for (browser, key) in [(&alice, ALICE), (&bob, BOB), (&ian, IAN)] {
        browser.log_in(&served, key).await;
        browser.open(&served, &path).await;
    }
    ian.sees("`ian` cannot decide this: it takes role:release-manager")
        .await;
    assert!(!ian.has("button[value=approve]").await);
    bob.sees("0 of 2").await;
    alice.click("button[value=approve]").await;
    alice.sees("You have voted.").await;
    // Bob's page tells him without a reload.
    bob.sees("1 of 2").await;
    bob.click("button[value=approve]").await;
    bob.sees("It is good for once").await;
    alice.sees("Show the outcome").await;
    for browser in [alice, bob, ian] {
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_time_is_over_cannot_be_approved_from_a_page_that_is_still_open() {
    let Some(alice) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    alice.log_in(&served, ALICE).await;
    let id = served.held("soon", &json!({})).await;
    alice
        .open(&served, &format!("/console/approvals/{id}"))
        .await;
    let approve = alice.find("button[value=approve]").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    approve.click().await.unwrap();
    alice.sees("Refused").await;
    alice.sees("it is expired").await;
    alice
        .open(&served, &format!("/console/approvals/{id}"))
        .await;
    alice.sees("expired").await;
    assert!(!alice.has("button[value=approve]").await);
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_scripts() {
    let look = Look {
        has_no_scripts: true,
        ..Look::default()
    };
    let Some(alice) = browser(look).await else {
        return;
    };
    let served = Served::start().await;
    let id = served.held("deploy.production", &json!({"n": 1})).await;
    alice.log_in(&served, ALICE).await;
    alice.click("#rows tbody a").await;
    alice.sees("What exactly would run").await;
    alice.click("button[value=approve]").await;
    alice.sees("Outcome").await;
    let body =
        json!({"action_type": "deploy.production", "actor_id": "deploy-bot", "context": {"n": 1}});
    let answer = served.post("/v1-evaluate", &body).await;
    assert_eq!(answer["decision"], "allow", "{id}: {answer}");
    alice.click(".person button").await;
    alice.sees("API key of an approver").await;
    alice.close().await;
}
