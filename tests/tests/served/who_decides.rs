//! Tests who may decide a pending decision over HTTP, and that nobody decides for themselves.

use atlasent_authority::keys::{ApiKey, ApiScope};
use serde_json::{Value, json};

use crate::hitl::{ALICE, BOB, HOLDS, approver_key, held, keys, post, question, serve_keys, vote};
use crate::support::Served;

/// The API key of carol, who both asks and approves.
const CAROL: &str = "ask_test_ca201ca202ca203ca204ca205ca206ca";

fn carol() -> ApiKey {
    let mut key = approver_key(CAROL, "carol", "sre");
    key.scopes.push(ApiScope::Evaluate);
    key
}

async fn serve() -> Served {
    let mut keys = keys();
    keys.push(carol());
    serve_keys(HOLDS, keys, 64).await
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
    let allowed = ask(&served, crate::support::KEY, "2").await;
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
    let allowed = ask(&served, crate::support::KEY, "4").await;
    assert_eq!(allowed["decision"], "allow", "{allowed}");
}
