//! A full audit trail: requests get no decision, and everything else works.

use std::num::NonZeroU64;

use atlasent_authority::LocalAuthority;
use serde_json::json;

use crate::support::{AGENT, Served, deploy, evaluate_body, policies, server, token_of, with};

/// Serves an authority whose trail may hold this many events. The start is one.
async fn serve(limit: u64) -> Served {
    let authority = LocalAuthority::builder(policies())
        .max_events(NonZeroU64::new(limit).unwrap())
        .build();
    Served::run(server(authority.await.unwrap())).await
}

#[tokio::test]
async fn a_full_trail_takes_no_request_in_any_form_and_says_what_to_do() {
    let served = serve(3).await;
    let token = token_of(&served.evaluate(&deploy()).await);
    served.evaluate(&evaluate_body("drop")).await;
    let shadow = with(deploy(), &json!({"shadow": true}));
    for (path, body) in [
        ("/v1-evaluate", deploy()),
        ("/v1-evaluate", evaluate_body("drop")),
        ("/v1-evaluate", shadow.clone()),
        ("/v1-evaluate-stream", deploy()),
    ] {
        let answer = served.post(path, &body).await;
        answer.is_problem(507, "STORAGE_LIMIT");
        assert_eq!(answer.header("retry-after"), None);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("--retain-days"), "{message}");
    }
    let batch = json!({"items": [deploy(), shadow]});
    let answer = served.post("/v1/evaluate/batch", &batch).await.json();
    assert_eq!(answer["partial"], true);
    for item in answer["items"].as_array().unwrap() {
        assert_eq!(item["decision"], "deny");
        assert_eq!(item["error_code"], "STORAGE_LIMIT");
        assert_eq!(item.get("permit_token"), None);
    }
    assert_eq!(served.events().await.len(), 3);
    let verify = json!({"permit_token": token, "action_type": "deploy", "actor_id": AGENT});
    assert_eq!(served.verify(&verify).await.json()["valid"], true);
    assert_eq!(served.events().await.len(), 4);
}

#[tokio::test]
async fn a_batch_fills_the_trail_up_to_the_limit() {
    let served = serve(4).await;
    let batch = json!({"items": vec![deploy(); 7]});
    let answer = served.post("/v1/evaluate/batch", &batch).await.json();
    let items = answer["items"].as_array().unwrap();
    let allowed = items.iter().filter(|item| item["decision"] == "allow");
    assert_eq!(allowed.count(), 3);
    assert_eq!(served.events().await.len(), 4);
}
