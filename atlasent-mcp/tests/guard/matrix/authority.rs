//! Faults of the authority: nothing runs, and nothing of the server is shown.

use atlasent::error::Code;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::Verification;
use serde_json::json;

use super::{Leaves, OF_CLIENT, OF_SERVER, SIDES, WAYS, WRITE, leave, request, response, run};
use crate::over_http::NO_RESPONSE;
use crate::support::{PATIENCE, SILENCE, Stage};

/// The faults of an authority about an action: nothing of it is an allow that was verified.
fn faulty_authorities(action: &'static str) -> Vec<(&'static str, MockAuthority)> {
    let new = MockAuthority::new;
    let allowed = || new().allow(action);
    let refused = Verification::refuse(None, "no");
    vec![
        ("unknown", new()),
        ("another action", new().allow("mcp.fake.other")),
        ("deny", new().deny(action, "no")),
        ("hold", new().hold(action, "later")),
        ("escalate", new().escalate(action, "later")),
        (
            "evaluate times out",
            new().on_evaluate(action, Reply::Fail(Code::Timeout)),
        ),
        (
            "evaluate is garbage",
            new().on_evaluate(action, Reply::Fail(Code::BadResponse)),
        ),
        ("evaluate panics", new().on_evaluate(action, Reply::Panic)),
        ("evaluate hangs", new().on_evaluate(action, Reply::Never)),
        (
            "verify is unreachable",
            allowed().on_verify(action, Reply::Fail(Code::Network)),
        ),
        ("verify panics", allowed().on_verify(action, Reply::Panic)),
        ("verify hangs", allowed().on_verify(action, Reply::Never)),
        (
            "verify refuses",
            allowed().on_verify(action, Reply::Answer(refused)),
        ),
    ]
}

#[tokio::test]
async fn no_fault_of_the_authority_runs_a_request_of_the_client() {
    let mut cells = Vec::new();
    for sides in SIDES {
        for (method, action) in OF_CLIENT {
            for (index, (name, _)) in faulty_authorities(action).into_iter().enumerate() {
                for way in WAYS {
                    // Only an authority that hangs leaves the client something to give up on.
                    if !name.contains("hangs") && way != Leaves::Closes {
                        continue;
                    }
                    cells.push(async move {
                        let (_, authority) = faulty_authorities(action).swap_remove(index);
                        let stage = Stage::new("");
                        let mut client = sides.client(&stage, authority).await;
                        client.initialize().await;
                        client.send_json(&request(1, method)).await;
                        if name.contains("hangs") {
                            client.hears_nothing().await;
                        } else {
                            let response = response(&mut client, 1, PATIENCE).await.unwrap();
                            let is_refused = response["result"]["isError"] == true
                                || response["error"].is_object();
                            let is_answer = response["error"]["code"] != NO_RESPONSE;
                            assert!(
                                is_refused && is_answer,
                                "{sides:?}, {method}, {name}: {response}"
                            );
                        }
                        leave(client, way).await;
                        assert_eq!(stage.runs(), 0, "{sides:?}, {method}, {name}, {way:?}");
                    });
                }
            }
        }
    }
    assert_eq!(run(cells).await, 3 * 3 * (11 + 2 * 4));
}

#[tokio::test]
async fn no_fault_of_the_authority_shows_a_request_of_the_server_to_the_client() {
    let mut cells = Vec::new();
    for sides in SIDES {
        for (method, action) in OF_SERVER {
            for (index, (name, _)) in faulty_authorities(action).into_iter().enumerate() {
                cells.push(async move {
                    let (_, authority) = faulty_authorities(action).swap_remove(index);
                    let stage = Stage::new(format!("asks@{method}"));
                    let mut client = sides.client(&stage, authority.allow(WRITE)).await;
                    client.initialize().await;
                    client.send_json(&request(1, "tools/call")).await;
                    let mut patience = PATIENCE;
                    while let Some(message) = client.heard(patience).await {
                        assert_ne!(message["method"], method, "{sides:?}, {name}");
                        if message["id"] == 1 {
                            patience = SILENCE;
                        }
                    }
                    // A client that guesses the id answers nothing.
                    client
                        .send(r#"{"jsonrpc":"2.0","id":"s1","result":{"guessed":true}}"#)
                        .await;
                    client.request(2, "ping", json!({})).await;
                    let heard = stage.noted("got ").join("\n");
                    assert!(
                        !heard.contains("guessed"),
                        "{sides:?}, {method}, {name}: {heard}"
                    );
                    leave(client, Leaves::Closes).await;
                });
            }
        }
    }
    assert_eq!(run(cells).await, 3 * 3 * 13);
}
