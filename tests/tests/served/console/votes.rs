//! Deciding on pages what the policies hold.

use serde_json::json;

use super::support::{
    ALICE, BOB, Browser, IAN, OPS, all_keys, ask, held, person, serve, serve_at, with_console,
};
use crate::support::{Answer, KEY, Served, Time, stored};
use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::ApiKeys;
use atlasent_authority::{LocalAuthority, Policies};

#[tokio::test]
async fn two_people_release_what_the_page_shows_them() {
    let served = serve().await;
    let context = json!({"commit": "4f2a9c1", "cost": 1.50, "token": "hunter2"});
    let id = held(&served, "release", context.clone()).await;
    let path = format!("/console/approvals/{id}");
    let (alice, bob) = (
        Browser::logged_in(&served, ALICE).await,
        Browser::logged_in(&served, BOB).await,
    );
    let list = alice.page("/console/approvals").await;
    assert!(list.contains(&path) && list.contains("0 of 2"), "{list}");
    let page = alice.page(&path).await;
    for shown in [
        "release by deploy-bot",
        "&quot;commit&quot;: &quot;4f2a9c1&quot;",
        "&quot;cost&quot;: 1.5",
        "&quot;token&quot;: &quot;[redacted]&quot;",
        "four-eyes",
        "&lt;policies&gt;:4:5",
        "2 approvals by role:sre",
        "2 approvals are missing",
        "Nobody has voted yet.",
        "@quorum(&quot;2&quot;)",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("hunter2"), "{page}");

    let answer = alice
        .vote(&id, &[("vote", "approve"), ("note", "the tests\r\npassed")])
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(answer.header("location"), Some(&*path));
    let page = alice.page(&path).await;
    assert!(
        page.contains("You have voted") && page.contains("1 approval is missing"),
        "{page}"
    );
    assert!(
        page.contains("alice (sre)") && page.contains("the tests\\npassed"),
        "{page}"
    );
    assert_eq!(
        ask(&served, "release", context.clone()).await["decision"],
        "hold"
    );

    let answer = bob.vote(&id, &[("vote", "approve"), ("note", " ")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let page = bob.page(&path).await;
    assert!(
        page.contains("approved") && page.contains("It is good for once"),
        "{page}"
    );
    assert!(!page.contains(r#"name="vote""#), "{page}");
    assert_eq!(ask(&served, "release", context).await["decision"], "allow");
    assert!(alice.page(&path).await.contains("Its permit was issued."));
    let closed = alice.page("/console/approvals?state=closed").await;
    assert!(closed.contains(&path), "{closed}");
    let open = alice.page("/console/approvals").await;
    assert!(open.contains("Nothing waits for approval."), "{open}");
    assert!(
        open.contains("You see what `test` keys asked for."),
        "{open}"
    );
}

#[tokio::test]
async fn the_hold_of_the_readme_is_released_on_its_page() {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first/policies");
    let authority = LocalAuthority::in_memory(Policies::from_dir(policies).unwrap()).unwrap();
    let served = Served::run(with_console(authority, ApiKeys::new(all_keys()))).await;
    let context = json!({"commit": "4f2a9c1", "replicas": 500});
    let id = held(&served, "deploy.production", context.clone()).await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let page = alice.page(&format!("/console/approvals/{id}")).await;
    for shown in ["deploy.production by deploy-bot", "big-rollouts-wait"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let answer = alice.vote(&id, &[("vote", "approve")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let again = ask(&served, "deploy.production", context.clone()).await;
    assert_eq!(again["decision"], "allow", "{again}");
    let again = ask(&served, "deploy.production", context).await;
    assert_eq!(again["decision"], "hold", "{again}");
}

#[tokio::test]
async fn a_rejection_is_final_and_says_why() {
    let served = serve().await;
    let id = held(&served, "deploy", json!({})).await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let fields = [("vote", "reject"), ("note", "not on a friday")];
    assert_eq!(alice.vote(&id, &fields).await.status, 303);
    let page = alice.page(&format!("/console/approvals/{id}")).await;
    assert!(
        page.contains("rejected") && page.contains("not on a friday"),
        "{page}"
    );
    let answer = ask(&served, "deploy", json!({})).await;
    assert_eq!(answer["decision"], "deny", "{answer}");
    let bob = Browser::logged_in(&served, BOB).await;
    let late = bob
        .vote(&id, &[("shown", &"0".repeat(64)), ("vote", "approve")])
        .await;
    late.is_error_page(422, "INVALID_FIELD");
}

#[tokio::test]
async fn an_approval_may_be_good_for_longer_where_the_policy_allows_it() {
    let served = serve().await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let id = held(&served, "deploy", json!({"n": 0})).await;
    let page = alice.page(&format!("/console/approvals/{id}")).await;
    assert!(page.contains("for at most 30 min."), "{page}");
    for (lasts, times, status) in [
        ("soon", "", 422),
        ("31m", "5", 422),
        ("0", "5", 422),
        ("", "0", 422),
        ("10m", "0", 422),
        ("10m", "many", 422),
        ("10m", "-1", 422),
    ] {
        let fields = [("vote", "approve"), ("for", lasts), ("times", times)];
        let answer = alice.vote(&id, &fields).await;
        assert_eq!(answer.status, status, "{lasts} {times}: {}", answer.text);
    }
    assert_eq!(
        ask(&served, "deploy", json!({"n": 0})).await["decision"],
        "hold"
    );
    let fields = [("vote", "approve"), ("for", "10m"), ("times", "2")];
    assert_eq!(alice.vote(&id, &fields).await.status, 303);
    for (n, decision) in [(1, "allow"), (2, "allow"), (3, "hold")] {
        let answer = ask(&served, "deploy", json!({"n": n})).await;
        assert_eq!(answer["decision"], decision, "{n}");
    }
    // Without a time, the longest one of the policy counts.
    let id = held(&served, "deploy", json!({"n": 3})).await;
    let fields = [("vote", "approve"), ("for", ""), ("times", "1")];
    assert_eq!(alice.vote(&id, &fields).await.status, 303);
    for (n, decision) in [(4, "allow"), (5, "hold")] {
        let answer = ask(&served, "deploy", json!({"n": n})).await;
        assert_eq!(answer["decision"], decision, "{n}");
    }
    // The policy of a release allows one call only.
    let id = held(&served, "release", json!({})).await;
    let page = alice.page(&format!("/console/approvals/{id}")).await;
    assert!(!page.contains(r#"name="for""#), "{page}");
    let fields = [("vote", "approve"), ("for", "10m"), ("times", "2")];
    alice
        .vote(&id, &fields)
        .await
        .is_error_page(422, "INVALID_FIELD");
}

#[tokio::test]
async fn the_longest_note_may_have_lines() {
    let served = serve().await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let id = held(&served, "deploy", json!({"n": 1})).await;
    // Browsers send the end of each line as two characters.
    let note = "1234567\r\n".repeat(250);
    let fields = [("vote", "reject"), ("note", &*note)];
    assert_eq!(alice.vote(&id, &fields).await.status, 303);
    let kept = served.get(&format!("/v1/hitl/{id}")).await.json();
    let kept = kept["resolution_note"].as_str().unwrap();
    assert_eq!(kept, "1234567\n".repeat(250));
    let id = held(&served, "deploy", json!({"n": 2})).await;
    let fields = [("vote", "reject"), ("note", &*format!("{note}x"))];
    assert_eq!(alice.vote(&id, &fields).await.status, 400);
}

#[tokio::test]
async fn a_vote_that_says_nothing_or_shows_another_request_does_not_count() {
    let served = serve().await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let id = held(&served, "deploy", json!({"n": 1})).await;
    let long = "x".repeat(2_001);
    for (fields, code) in [
        (&[][..], "INVALID_FIELD"),
        (&[("vote", "maybe")], "INVALID_FIELD"),
        (&[("vote", "approve"), ("shown", "")], "INVALID_FIELD"),
        (&[("vote", "approve"), ("shown", "0")], "INVALID_FIELD"),
        (&[("vote", "approve"), ("note", &long)], "INVALID_QUERY"),
    ] {
        let answer = alice.vote(&id, fields).await;
        assert!(answer.text.contains(code), "{fields:?}: {}", answer.text);
    }
    assert_eq!(served.count("approval.voted").await, 0);
}

/// Votes with the token and the hash of a page that shows no form of a vote.
async fn insists(browser: &Browser<'_>, other: &Browser<'_>, id: &str) -> Answer {
    let path = format!("/console/approvals/{id}");
    let shown = super::support::value_of(&other.page(&path).await, "shown").unwrap();
    let fields = [("shown", &*shown), ("vote", "approve")];
    browser
        .submit(&path, &format!("{path}/vote"), &fields)
        .await
}

#[tokio::test]
async fn a_person_with_another_role_sees_why_and_is_refused() {
    let served = serve().await;
    let id = held(&served, "deploy", json!({})).await;
    let (ian, alice) = (
        Browser::logged_in(&served, IAN).await,
        Browser::logged_in(&served, ALICE).await,
    );
    let page = ian.page(&format!("/console/approvals/{id}")).await;
    assert!(
        page.contains("`ian` cannot decide this: it takes role:sre"),
        "{page}"
    );
    assert!(!page.contains(r#"name="vote""#), "{page}");
    let answer = insists(&ian, &alice, &id).await;
    answer.is_error_page(403, "NOT_AN_APPROVER");
    assert_eq!(served.count("approval.voted").await, 0);
}

#[tokio::test]
async fn nobody_approves_what_they_asked_for_themselves() {
    // Olga's own key asks, and so does a program's key of hers.
    let mut program = stored(KEY);
    program.approver = person(OPS, "olga", "sre").approver;
    let mut keys = all_keys();
    keys[0] = program;
    let authority = LocalAuthority::in_memory(Policies::parse(super::support::HOLDS).unwrap());
    let served = Served::run(with_console(authority.unwrap(), ApiKeys::new(keys))).await;
    let id = held(&served, "deploy", json!({})).await;
    let (olga, alice) = (
        Browser::logged_in(&served, OPS).await,
        Browser::logged_in(&served, ALICE).await,
    );
    let page = olga.page(&format!("/console/approvals/{id}")).await;
    assert!(
        page.contains("nobody can approve what they asked for themselves"),
        "{page}"
    );
    insists(&olga, &alice, &id)
        .await
        .is_error_page(403, "SELF_APPROVAL");
    assert_eq!(ask(&served, "deploy", json!({})).await["decision"], "hold");
}

#[tokio::test]
async fn the_vote_on_a_page_releases_nothing_to_an_api_key_of_the_same_person() {
    let served = serve().await;
    let id = held(&served, "deploy", json!({})).await;
    let olga = Browser::logged_in(&served, OPS).await;
    assert_eq!(olga.vote(&id, &[("vote", "approve")]).await.status, 303);
    let body = json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": {}});
    let own = served.caller(OPS).post("/v1-evaluate", &body).await;
    assert_eq!(own.json()["deny_code"], "SELF_APPROVAL", "{}", own.text);
    assert_eq!(ask(&served, "deploy", json!({})).await["decision"], "allow");
}

#[tokio::test]
async fn a_decision_whose_time_is_over_is_shown_as_expired_and_takes_no_vote() {
    let time = Time::new();
    let served = serve_at(&time).await;
    let id = held(&served, "deploy", json!({})).await;
    let path = format!("/console/approvals/{id}");
    time.set(59 * 60);
    let alice = Browser::logged_in(&served, ALICE).await;
    let page = alice.page(&path).await;
    assert!(page.contains("expires in 1 min"), "{page}");
    let shown = super::support::value_of(&page, "shown").unwrap();
    let token = super::support::token_in(&page);
    time.set(60 * 60);
    // The page is still open in the browser.
    let fields = [("csrf", &*token), ("shown", &shown), ("vote", "approve")];
    let answer = alice
        .send(alice.form(&format!("{path}/vote"), &fields))
        .await;
    answer.is_error_page(409, "ESCALATION_CLOSED");
    let page = alice.page(&path).await;
    assert!(
        page.contains("expired") && !page.contains(r#"name="vote""#),
        "{page}"
    );
    assert_eq!(served.count("approval.voted").await, 0);
    assert_eq!(served.count("approval.expired").await, 1);
}

#[tokio::test]
async fn keys_of_the_test_environment_do_not_see_what_live_keys_asked() {
    let live = "ask_live_0123456789";
    let mut lena = person("ask_live_1e4a", "lena", "sre");
    lena.scopes = ApiScope::APPROVER.to_vec();
    let keys = [stored(live), lena, person(ALICE, "alice", "sre")];
    let authority = LocalAuthority::in_memory(Policies::parse(super::support::HOLDS).unwrap());
    let served = Served::run(with_console(authority.unwrap(), ApiKeys::new(keys))).await;
    let request = served.bare(reqwest::Method::POST, "/v1-evaluate");
    let request = request.header("authorization", format!("Bearer {live}"));
    let request = request.header("content-type", "application/json");
    let body = json!({"action_type": "deploy", "actor_id": "bot"}).to_string();
    let held = Answer::receive(request.body(body)).await.json();
    let path = format!(
        "/console/approvals/{}",
        held["escalation_id"].as_str().unwrap()
    );
    let (alice, lena) = (
        Browser::logged_in(&served, ALICE).await,
        Browser::logged_in(&served, "ask_live_1e4a").await,
    );
    assert!(lena.page("/console/approvals").await.contains(&path));
    assert!(!alice.page("/console/approvals").await.contains(&path));
    alice
        .get(&path)
        .await
        .is_error_page(404, "ESCALATION_NOT_FOUND");
    assert_eq!(lena.get(&path).await.status, 200);
}
