//! Tests budgets and delegates over HTTP: what an answer tells, and what a request may send.

use atlasent_authority::{LocalAuthority, Policies};
use serde_json::{Value, json};

use crate::support::{Answer, Served, server};

const POLICIES: &str = r#"
    @id("pay") @budget("amount 100/hour per agent") permit (principal, action == Action::"pay", resource);
    @id("not-by-crawlers") @code("NO_CRAWLERS")
    forbid (principal, action, resource) when { context has actors && context.actors.contains("crawler") };
"#;

async fn start() -> Served {
    let policies = Policies::parse(POLICIES).unwrap();
    Served::run(server(LocalAuthority::in_memory(policies).unwrap())).await
}

async fn pay(served: &Served, context: &str, others: &str) -> Answer {
    let body = format!(r#"{{"action_type":"pay","actor_id":"bot","context":{context}{others}}}"#);
    served.post_text("/v1-evaluate", body).await
}

#[tokio::test]
async fn an_answer_tells_what_is_left_and_when_to_come_back() {
    let served = start().await;
    let state = |amount: &str, remaining: &str| json!([{"policy": "pay", "budget": "amount 100/hour per agent", "amount": amount, "remaining": remaining}]);
    let allow = pay(&served, r#"{"amount": 69.50}"#, "").await.json();
    assert_eq!(allow["decision"], "allow", "{allow}");
    assert_eq!(allow["budgets"], state("69.5", "30.5"));
    // The digits count, also those that a float loses.
    let exact = pay(&served, r#"{"amount": 30.500000000000000001}"#, "")
        .await
        .json();
    assert_eq!(exact["deny_code"], "BUDGET_AMOUNT_INVALID");
    let denied = pay(&served, r#"{"amount": 30.5001}"#, "").await;
    let wait: u64 = denied.header("retry-after").unwrap().parse().unwrap();
    // A permit of an hour that stays unused gives its amount back.
    assert!((3_500..=3_660).contains(&wait), "{wait}");
    let denied = denied.json();
    assert_eq!(denied["deny_code"], "BUDGET_EXCEEDED");
    assert_eq!(denied["budgets"], state("30.5001", "30.5"));
    let shadow = pay(&served, r#"{"amount": 30.5}"#, r#","shadow":true"#)
        .await
        .json();
    assert_eq!(shadow["permitted"], true);
    assert_eq!(
        pay(&served, r#"{"amount": 30.5}"#, "").await.json()["decision"],
        "allow"
    );
}

#[tokio::test]
async fn a_request_names_the_actors_beside_its_context() {
    let served = start().await;
    let ask = async |context: &str, others: &str| -> (u16, Value) {
        let answer = pay(&served, context, others).await;
        (answer.status, answer.json())
    };
    let one = r#"{"amount": 1}"#;
    assert_eq!(
        ask(one, r#","actors":["helper"]"#).await.1["decision"],
        "allow"
    );
    let (_, denied) = ask(one, r#","actors":["helper","crawler"]"#).await;
    assert_eq!(denied["deny_code"], "NO_CRAWLERS");
    let event = served.events().await.pop().unwrap();
    assert_eq!(event["payload"]["actors"], json!(["helper", "crawler"]));
    for (context, others) in [
        (r#"{"amount": 1, "actors": []}"#, ""),
        (
            r#"{"amount": 1, "actors": ["helper"]}"#,
            r#","actors":["helper"]"#,
        ),
        (one, r#","actors":"helper""#),
        (one, r#","actors":[""]"#),
        (one, r#","actors":[7]"#),
        (one, r#","actors":["1","2","3","4","5","6","7","8","9"]"#),
    ] {
        let (status, answer) = ask(context, others).await;
        assert!(
            status == 422 || status == 400,
            "{others}: {status} {answer}"
        );
    }
}
