//! Tests that a call that is cancelled while it waits never runs.

use std::time::Duration;

use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_mcp::Gate;
use serde_json::json;

use crate::support::{connect, deploys, local};

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @id("ask") @decision("hold") @reason("wait") @approvers("role:sre")
    forbid (principal, action == Action::"deploy.production", resource);
"#;

#[tokio::test]
async fn a_call_that_was_cancelled_while_it_waited_does_not_run_when_it_is_approved() {
    let authority = local(HOLDS);
    let gate = Gate::builder(authority.clone(), deploys())
        .max_wait(Duration::from_secs(60))
        .progress_interval(Duration::from_millis(20))
        .build();
    for hangs_up in [false, true] {
        let (mut client, reached) = connect(gate.clone()).await;
        let arguments = json!({"hangs_up": hangs_up});
        let params =
            json!({"name": "deploy", "arguments": arguments, "_meta": {"progressToken": 1}});
        let id = client.start("tools/call", params).await;
        let message = loop {
            let message = client.next().await;
            if let Some(text) = message["params"]["message"].as_str() {
                break text.to_owned();
            }
        };
        let escalation = message.split('`').nth(1).unwrap().to_owned();
        match hangs_up {
            true => drop(client),
            false => {
                let cancel = json!({
                    "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id},
                });
                client.send(&cancel.to_string()).await;
                client.settle().await;
            }
        }
        // A hung up connection is noticed a moment later.
        let patience = if hangs_up { 6_000 } else { 100 };
        tokio::time::sleep(Duration::from_millis(patience)).await;
        let approver = Approver::new("alice", ["sre"]).unwrap();
        authority
            .vote(escalation.parse().unwrap(), Ballot::approve(approver))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(reached.count(), 0, "hangs up: {hangs_up}");
    }
}
