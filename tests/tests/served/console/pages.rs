//! What the other pages show, to whom, and what they change.

use atlasent_tests::assert_in_order;
use serde_json::json;

use super::support::{ALICE, Browser, OPS, ask, held, serve};
use crate::support::{Served, token_of};

/// A permit whose request was held and approved, and that was used and completed. Returns its id.
async fn whole_story(served: &Served) -> String {
    let context = json!({"commit": "4f2a"});
    let id = held(served, "deploy", context.clone()).await;
    let alice = Browser::logged_in(served, ALICE).await;
    let fields = [("vote", "approve"), ("note", "looks good")];
    assert_eq!(alice.vote(&id, &fields).await.status, 303);
    let body = json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": context});
    let allowed = served.evaluate(&body).await;
    let token = token_of(&allowed);
    let verify = json!({"permit_token": token, "action_type": "deploy", "actor_id": "deploy-bot"});
    let verified = served.verify(&verify).await.json();
    assert_eq!(verified["valid"], true, "{verified}");
    let permit = allowed.json()["permit_id"].as_str().unwrap().to_owned();
    let receipt = json!({"permit_token": token, "outcome": "completed", "duration_ms": 12});
    let path = format!("/v1/permits/{permit}/complete");
    assert_eq!(served.post(&path, &receipt).await.status, 200);
    permit
}

#[tokio::test]
async fn a_permit_tells_its_story_from_the_question_to_the_outcome() {
    let served = serve().await;
    let permit = whole_story(&served).await;
    // Other permits of the agent are other stories.
    ask(&served, "read", json!({})).await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let list = alice.page("/console/permits").await;
    assert!(
        list.contains(&permit) && list.contains("2 permits"),
        "{list}"
    );
    let other = alice.page("/console/permits?agent=other-bot").await;
    assert!(other.contains("0 permits"), "{other}");
    let page = alice.page(&format!("/console/permits/{permit}")).await;
    assert_in_order(
        &page,
        &[
            "evaluate.hold",
            "approval.requested",
            "approval.voted",
            "looks good",
            "approval.granted",
            "evaluate.allow",
            "permit.verified",
            "permit.completed",
        ],
    );
    assert_eq!(page.matches("evaluate.allow").count(), 1, "{page}");
    assert!(page.contains("The action completed."), "{page}");
    alice
        .get("/console/permits/pt_00000000000000000000000000000000")
        .await
        .is_error_page(404, "PERMIT_NOT_FOUND");
}

#[tokio::test]
async fn decisions_appear_as_they_happen() {
    let served = serve().await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let page = alice.page("/console/decisions").await;
    assert!(page.contains("Nothing was decided lately."), "{page}");
    assert!(
        page.contains(r#"hx-get="/console/decisions/rows""#),
        "{page}"
    );
    let id = held(&served, "release", json!({})).await;
    ask(&served, "read", json!({})).await;
    let rows = alice.page("/console/decisions/rows").await;
    assert!(!rows.contains("<html"), "a part of the page: {rows}");
    let (allow, hold) = (rows.find(">allow<").unwrap(), rows.find(">hold<").unwrap());
    assert!(allow < hold, "the newest first: {rows}");
    assert!(rows.contains(&format!("/console/approvals/{id}")), "{rows}");
    assert!(rows.contains("a release needs two people"), "{rows}");
    // Many others lie between.
    for _ in 0..60 {
        served
            .post("/v1-revoke-permit", &json!({"permit_token": "permit_x"}))
            .await;
    }
    let rows = alice.page("/console/decisions/rows").await;
    assert_eq!(rows.matches("<tr>").count(), 1 + 2, "{rows}");
}

#[tokio::test]
async fn the_trail_is_read_page_by_page_and_each_page_is_checked() {
    let served = serve().await;
    for _ in 0..120 {
        ask(&served, "read", json!({})).await;
    }
    let events = served.count("").await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let last = alice.page("/console/trail").await;
    assert!(last.contains("<b>Intact. </b>Events 101 to"), "{last}");
    assert!(
        last.contains(&format!("The chain has {events} events")),
        "{last}"
    );
    assert!(
        last.contains("/console/trail?at=100") && !last.contains("Newer"),
        "{last}"
    );
    let middle = alice.page("/console/trail?at=77").await;
    assert!(
        middle.contains("<b>Intact. </b>Events 51 to 100"),
        "{middle}"
    );
    assert!(
        middle.contains("?at=101") && middle.contains("?at=50"),
        "{middle}"
    );
    let first = alice.page("/console/trail?at=1").await;
    assert!(first.contains("<b>Intact. </b>Events 1 to 50"), "{first}");
    assert!(
        first.contains("policy.loaded") && !first.contains("Older"),
        "{first}"
    );
    for odd in ["0", "18446744073709551615", "-1", "x"] {
        let page = alice.page(&format!("/console/trail?at={odd}")).await;
        assert!(page.contains("Intact"), "{odd}: {page}");
    }
    let whole = alice.page("/console/trail/check").await;
    assert!(
        whole.contains(&format!("<b>Intact. </b>All {events} events")),
        "{whole}"
    );
}

#[tokio::test]
async fn stops_are_set_and_lifted_by_those_whose_keys_may() {
    let served = serve().await;
    let olga = Browser::logged_in(&served, OPS).await;
    let page = "/console/stops";
    assert!(olga.page(page).await.contains("No stop is in effect."));
    for fields in [
        &[("covers", "agent"), ("name", ""), ("reason", "x")][..],
        &[("covers", "all"), ("name", "deploy-bot"), ("reason", "x")],
        &[("covers", "some"), ("name", "deploy-bot"), ("reason", "x")],
        &[
            ("covers", "agent"),
            ("name", "deploy-bot"),
            ("reason", "  "),
        ],
        &[("covers", "agent"), ("name", "deploy-bot")],
        &[
            ("covers", "agent"),
            ("name", "deploy-bot"),
            ("reason", "x"),
            ("for", "soon"),
        ],
        &[
            ("covers", "agent"),
            ("name", "deploy-bot"),
            ("reason", "x"),
            ("for", "99999999999999w"),
        ],
    ] {
        let answer = olga.submit(page, page, fields).await;
        answer.is_error_page(422, "INVALID_FIELD");
    }
    assert_eq!(served.count("stop.set").await, 0);
    let fields = [
        ("covers", "agent"),
        ("name", "deploy-bot"),
        ("reason", "it misbehaves"),
        ("for", "2h"),
    ];
    assert_eq!(olga.submit(page, page, &fields).await.status, 303);
    let text = olga.page(page).await;
    assert!(
        text.contains("agent deploy-bot") && text.contains("it misbehaves"),
        "{text}"
    );
    assert!(
        text.contains("ends in 1 h 59 min") || text.contains("ends in 2 h"),
        "{text}"
    );
    assert_eq!(
        ask(&served, "read", json!({})).await["deny_code"],
        "STOPPED"
    );

    let (_, rest) = text.split_once(r#"action="/console/stops/stop_"#).unwrap();
    let id = format!("stop_{}", rest.split('/').next().unwrap());
    let lift = format!("/console/stops/{id}/lift");
    let refused = olga.submit(page, &lift, &[]).await;
    refused.is_error_page(422, "INVALID_FIELD");
    let lifted = olga.submit(page, &lift, &[("reason", "fixed")]).await;
    assert_eq!(lifted.status, 303);
    assert_eq!(ask(&served, "read", json!({})).await["decision"], "allow");
    let again = olga.submit(page, &lift, &[("reason", "fixed")]).await;
    again.is_error_page(404, "STOP_NOT_FOUND");
}

#[tokio::test]
async fn actions_that_a_key_may_not_do_are_hidden_and_refused() {
    let served = serve().await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let page = alice.page("/console/approvals").await;
    assert!(!page.contains("/console/stops"), "{page}");
    assert!(
        page.contains("/console/permits") && page.contains("/console/policies"),
        "{page}"
    );
    alice
        .get("/console/stops")
        .await
        .is_error_page(403, "INSUFFICIENT_SCOPE");
    let policies = alice.page("/console/policies").await;
    assert!(!policies.contains("/console/policies/try"), "{policies}");
    for (target, fields) in [
        ("/console/stops", &[("covers", "all"), ("reason", "x")][..]),
        ("/console/stops/stop_1/lift", &[("reason", "x")]),
        ("/console/policies/try", &[("agent", "a"), ("action", "b")]),
    ] {
        let answer = alice.submit("/console/approvals", target, fields).await;
        answer.is_error_page(403, "INSUFFICIENT_SCOPE");
    }
    assert_eq!(served.count("stop.set").await, 0);
}

#[tokio::test]
async fn trying_a_request_out_leaves_nothing_behind() {
    let served = serve().await;
    let olga = Browser::logged_in(&served, OPS).await;
    let page = "/console/policies";
    let text = olga.page(page).await;
    assert!(
        text.contains("four-eyes") && text.contains("&lt;policies&gt;:4"),
        "{text}"
    );
    let before = served.count("").await;
    for (action, context, shown) in [
        ("read", "{}", &[">allow<", "everyone"][..]),
        (
            "release",
            r#"{"cost": 1e400}"#,
            &[
                ">hold<",
                "four-eyes",
                "2 approvals by role:sre",
                "Once released",
            ],
        ),
        ("deploy", "", &[">hold<", "a deploy needs a person"]),
    ] {
        let fields = [
            ("agent", "deploy-bot"),
            ("action", action),
            ("context", context),
        ];
        let answer = olga.submit(page, "/console/policies/try", &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        for text in shown {
            assert!(answer.text.contains(text), "{text}: {}", answer.text);
        }
        assert!(
            answer.text.contains("Nothing was recorded"),
            "{}",
            answer.text
        );
        assert!(answer.text.contains(&format!(
            r#"name="action" required maxlength="256" value="{action}""#
        )));
    }
    for (context, amount) in [
        ("[]", ""),
        ("{", ""),
        (r#"{"a":1,"a":2}"#, ""),
        ("{}", "much"),
    ] {
        let fields = [
            ("agent", "a"),
            ("action", "b"),
            ("context", context),
            ("amount", amount),
        ];
        let answer = olga.submit(page, "/console/policies/try", &fields).await;
        assert_eq!(answer.status, 422, "{context}: {}", answer.text);
    }
    assert_eq!(served.count("").await, before, "no event");
    let list = olga.page("/console/approvals").await;
    assert!(
        list.contains("Nothing waits for approval."),
        "no pending decision"
    );
    assert!(olga.page("/console/permits").await.contains("0 permits"));
    // A stop is told beside the policies, which do not know it.
    let fields = [
        ("covers", "agent"),
        ("name", "deploy-bot"),
        ("reason", "bad bot"),
    ];
    olga.submit("/console/stops", "/console/stops", &fields)
        .await;
    let fields = [("agent", "deploy-bot"), ("action", "read")];
    let answer = olga.submit(page, "/console/policies/try", &fields).await;
    assert!(answer.text.contains("A stop covers it") && answer.text.contains("bad bot"));
}
