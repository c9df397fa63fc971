//! Tests that approvers see over HTTP what they decide on, whatever an agent sends.

use atlasent::approval::{ActionBinding, action_hash};
use atlasent::wire::EscalationFilter;
use atlasent::{Client, Context};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::hitl::{ALICE, HOLDS, get, keys, serve_keys};
use crate::support::Served;

async fn serve() -> Served {
    serve_keys(HOLDS, keys(), 64).await
}

fn client(served: &Served) -> Client {
    let client = Client::builder().base_url(served.url()).api_key(ALICE);
    client.build().unwrap()
}

/// Asks with these fields, as they are written, and returns the pending decision as approvers see
/// it.
async fn held(served: &Served, fields: &str) -> Value {
    let body = format!(r#"{{"action_type":"deploy","actor_id":"bot",{fields}}}"#);
    let answer = served.post_text("/v1-evaluate", body).await.json();
    assert_eq!(answer["decision"], "hold", "{answer}");
    let id = answer["escalation_id"].as_str().unwrap();
    get(served, ALICE, &format!("/v1/hitl/{id}")).await.json()
}

#[tokio::test]
async fn no_context_can_empty_the_action_that_approvers_see() {
    let served = serve().await;
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    for hostile in ["1e400", "-1e-400", "12345678901234567890123", &deep] {
        let fields = format!(
            r#""resource_id":"prod","context":{{"path":"/prod","environment":"live","x":{hostile}}}"#
        );
        let row = held(&served, &fields).await;
        let action = &row["proposed_action"];
        assert_eq!(action["action_type"], "deploy", "{row}");
        assert_eq!(action["actor_id"], "bot", "{row}");
        assert_eq!(action["resource_id"], "prod", "{row}");
        assert_eq!(action["environment"], "live", "{row}");
        assert_eq!(action["context"]["path"], "/prod", "{row}");
        let shown = row["shown"].as_str().unwrap();
        assert!(shown.contains(&format!(r#""x":{hostile}"#)), "{shown}");

        let id = row["id"].as_str().unwrap();
        let read = client(&served).escalation(id).await.unwrap();
        assert_eq!(&Value::from(read.proposed_action), action);
    }
    let listed = client(&served).escalation_stream(EscalationFilter::default());
    assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap().len(), 4);
}

#[tokio::test]
async fn approvers_see_each_number_with_all_its_digits() {
    let served = serve().await;
    for (text, value) in [
        ("1.50", json!(1.5)),
        ("-7", json!(-7)),
        ("9007199254740993", json!("9007199254740993")),
        ("12345678901234567890123", json!("12345678901234567890123")),
        ("0.30000000000000000001", json!("0.30000000000000000001")),
        ("1e400", json!("1e400")),
    ] {
        let row = held(&served, &format!(r#""context":{{"x":[{text}]}}"#)).await;
        let action = &row["proposed_action"];
        assert_eq!(action["context"]["x"], json!([value]), "{text}");

        let body = format!(
            r#"{{"agent_id":"bot","escalation_reason":"r","proposed_action":{{"action_type":"wipe","x":{text}}}}}"#
        );
        let opened = served.post_text("/v1/hitl", body).await;
        if text == "1e400" {
            opened.is_problem(422, "INVALID_FIELD");
            continue;
        }
        let opened = opened.json();
        let proposed = json!({"action_type": "wipe", "x": value});
        assert_eq!(opened["proposed_action"], proposed, "{text}");
        let shown = format!(r#"{{"action_type":"wipe","x":{text}}}"#);
        assert_eq!(opened["shown"], shown);
    }
}

#[tokio::test]
async fn the_hash_that_approvers_sign_covers_the_amount_as_it_was_written() {
    let served = serve().await;
    for text in ["100", "100.0", "1e2", "1.50", "9223372036854775807.0"] {
        let fields = format!(r#""resource_id":"r","context":{{"a":1}},"amount":{text}"#);
        let row = held(&served, &fields).await;
        let action = ActionBinding::new("deploy", "bot")
            .resource_id("r")
            .context(Context::parse(r#"{"a":1}"#).unwrap())
            .amount_as_written(text)
            .unwrap();
        assert_eq!(row["action_hash"], action_hash(&action), "{text}");
        let shown = row["shown"].as_str().unwrap();
        assert!(shown.contains(&format!(r#""amount":{text},"#)), "{shown}");
    }
}
