//! Tests that a part of arguments that a caller may not set is not shown, and not accepted.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use serde_json::{Value, json};

use crate::support::{connect, local, names, shop};

const PAYS: &str = r#"
    permit (principal, action == Action::"mcp.shop.pay", resource);
"#;
const PAYS_ABROAD: &str = r#"
    permit (principal, action == Action::"mcp.shop.pay", resource);
    permit (principal, action == Action::"pay.abroad", resource);
"#;

fn properties(list: &Value) -> Vec<String> {
    let tools = list["tools"].as_array().unwrap();
    let pay = tools.iter().find(|tool| tool["name"] == "pay").unwrap();
    assert!(!pay.to_string().contains("x-atlasent"), "{pay}");
    let properties = pay["inputSchema"]["properties"].as_object().unwrap();
    let mut names: Vec<_> = properties.keys().cloned().collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_hidden_part_is_not_shown_and_refused_when_it_is_sent() {
    let (mut client, reached) = connect(shop(local(PAYS))).await;
    let list = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(properties(&list), ["cents", "to"]);
    for part in ["urgent", "abroad"] {
        for value in [true, false] {
            let arguments = json!({"to": "a", "cents": 5, part: value});
            let result = client.call("pay", arguments).await.unwrap();
            assert_eq!(
                result["structuredContent"]["code"], "ARGUMENT_NOT_ALLOWED",
                "{part}"
            );
        }
    }
    assert_eq!(reached.count(), 0);
    client
        .call("pay", json!({"to": "a", "cents": 5}))
        .await
        .unwrap();
    assert_eq!(reached.count(), 1);
}

#[tokio::test]
async fn a_part_is_open_to_whom_the_policies_allow_it() {
    let (mut client, reached) = connect(shop(local(PAYS_ABROAD))).await;
    let list = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(properties(&list), ["abroad", "cents", "to"]);
    client
        .call("pay", json!({"to": "a", "cents": 5, "abroad": true}))
        .await
        .unwrap();
    assert_eq!(reached.count(), 1);
    client
        .call("pay", json!({"to": "a", "cents": 5, "urgent": true}))
        .await
        .unwrap();
    assert_eq!(reached.count(), 1);
}

#[tokio::test]
async fn arguments_that_do_not_fit_ask_nobody() {
    let authority = Arc::new(MockAuthority::new().allow("mcp.shop.pay"));
    let (mut client, reached) = connect(shop(authority.clone())).await;
    for arguments in [
        json!({}),
        json!({"to": "a"}),
        json!({"to": "a", "cents": 0}),
        json!({"to": "a", "cents": "5"}),
        json!({"to": "a", "cents": 5, "more": 1}),
    ] {
        let result = client.call("pay", arguments.clone()).await.unwrap();
        assert_eq!(
            result["structuredContent"]["code"], "INVALID_ARGUMENTS",
            "{arguments}"
        );
    }
    let unknown = client.call("refund", json!({})).await.unwrap();
    assert_eq!(unknown["structuredContent"]["code"], "NO_SUCH_TOOL");
    assert_eq!((reached.count(), authority.calls().len()), (0, 0));
}

#[tokio::test]
async fn a_rule_hides_an_argument_of_a_tool_that_does_not_say_so_itself() {
    use atlasent_mcp::Rule;
    use atlasent_mcp::schema::Requirement;

    use crate::support::{deploys, gate};

    let rule = Rule::new().require("to", Requirement::Action("pay.anyone".to_owned()));
    let (mut client, reached) = connect(gate(local(PAYS), deploys().tool("pay", rule))).await;
    // No call without the argument fits, so there is nothing that this agent could call.
    let list = client.request("tools/list", json!({})).await.unwrap();
    assert!(!names(&list, "tools", "name").contains(&"pay".to_owned()));
    for arguments in [json!({"to": "a", "cents": 5}), json!({"cents": 5})] {
        let result = client.call("pay", arguments).await.unwrap();
        assert_eq!(result["isError"], true);
        assert!(!result.to_string().contains("`to`"), "{result}");
    }
    assert_eq!(reached.count(), 0);
    let rule = Rule::new().require("to", Requirement::Action("pay.abroad".to_owned()));
    let (mut client, reached) =
        connect(gate(local(PAYS_ABROAD), deploys().tool("pay", rule))).await;
    let list = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(properties(&list), ["abroad", "cents", "to"]);
    client
        .call("pay", json!({"to": "a", "cents": 5}))
        .await
        .unwrap();
    assert_eq!(reached.count(), 1);
}
