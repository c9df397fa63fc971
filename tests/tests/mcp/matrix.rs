//! Tests every evaluation with every verification: the tool of a real server runs exactly if both
//! are genuine, and the client reads why it did not.

use std::sync::Arc;

use atlasent::error::Code;
use atlasent::testing::MockAuthority;
use atlasent_tests::cases::{ACTION, Says, both, evaluations, verifications};
use atlasent_tests::quiet_panics;
use serde_json::json;

use crate::support::{connect, shop};

#[tokio::test]
async fn a_tool_runs_only_on_two_genuine_answers() {
    quiet_panics();
    let (evaluations, verifications) = (evaluations(), verifications());
    let mut calls = 0;
    for evaluation in &evaluations {
        for verification in &verifications {
            let authority = MockAuthority::new()
                .on_evaluate(ACTION, evaluation.reply.clone())
                .on_verify(ACTION, verification.reply.clone());
            let says = both(&evaluation.says, &verification.says);
            let name = format!("{}, then {}", evaluation.name, verification.name);
            let (mut client, reached) = connect(shop(Arc::new(authority))).await;
            let id = client.start("tools/call", json!({"name": "deploy"})).await;
            match says {
                // No response comes.
                Says::Panics | Says::Never => client.settle().await,
                _ => {
                    let result = client.response(id).await.unwrap();
                    let is_error = result["isError"] == json!(true);
                    let decision = &result["structuredContent"]["decision"];
                    match says {
                        Says::Yes => assert!(!is_error, "{name}: {result}"),
                        Says::No(refusal) => {
                            assert!(is_error, "{name}");
                            assert_eq!(*decision, json!(refusal.decision), "{name}");
                        }
                        // A later call with the same key would fail as well.
                        Says::Fails(Code::InvalidApiKey | Code::Forbidden) => {
                            assert!(is_error, "{name}");
                            assert_eq!(*decision, json!("deny"), "{name}");
                        }
                        _ => {
                            assert!(is_error, "{name}");
                            assert_eq!(*decision, json!("unavailable"), "{name}");
                        }
                    }
                }
            }
            let expected = usize::from(matches!(says, Says::Yes));
            assert_eq!(reached.count(), expected, "{name}");
            calls += 1;
            if !matches!(evaluation.says, Says::Yes) {
                // The verification is not reached, so one is as good as all.
                break;
            }
        }
    }
    assert!(calls > 100, "the matrix shrank to {calls} calls");
}
