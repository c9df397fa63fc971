//! Faults of the client: it gives up at any message, and it answers the server wrongly.

use atlasent::testing::MockAuthority;

use super::{
    Leaves, MOMENTS, OF_SERVER, SIDES, WAYS, WRITE, assert_permitted, authority_at, leave, reaches,
    request, response, run,
};
use crate::support::{PATIENCE, Stage};

#[tokio::test]
async fn a_client_that_gives_up_at_any_message_runs_nothing_without_a_permit() {
    let mut cells = Vec::new();
    for sides in SIDES {
        for (moment, fault, expected) in MOMENTS {
            for way in WAYS {
                cells.push(async move {
                    let authority = authority_at(fault);
                    let stage = Stage::new(fault);
                    let mut client = sides.client(&stage, authority.clone()).await;
                    client.initialize().await;
                    client.send_json(&request(1, "tools/call")).await;
                    reaches(fault, &stage, &authority, 1).await;
                    client.hears_nothing().await;
                    leave(client, way).await;
                    let cell = format!("{sides:?}, {moment}, {way:?}");
                    let runs = assert_permitted(&stage, &authority, "tools/call", &cell);
                    assert_eq!(runs, expected, "{cell}");
                });
            }
        }
    }
    assert_eq!(run(cells).await, 3 * 5 * 4);
}

#[tokio::test]
async fn an_answer_of_the_client_reaches_the_server_once_and_as_it_was_sent() {
    const ANSWERS: [(&str, &[&str], usize); 7] = [
        (
            "a result",
            &[r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"assistant"}}"#],
            1,
        ),
        (
            "an error",
            &[r#"{"jsonrpc":"2.0","id":"s1","error":{"code":-1,"message":"no"}}"#],
            1,
        ),
        (
            "two results",
            &[
                r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"assistant"}}"#,
                r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"evil"}}"#,
            ],
            1,
        ),
        (
            "result and error",
            &[r#"{"jsonrpc":"2.0","id":"s1","result":{},"error":{}}"#],
            0,
        ),
        (
            "two ids",
            &[r#"{"jsonrpc":"2.0","id":"s1","id":"s2","result":{}}"#],
            0,
        ),
        (
            "another id",
            &[r#"{"jsonrpc":"2.0","id":"s2","result":{"role":"evil"}}"#],
            0,
        ),
        (
            "a call in disguise",
            &[
                r#"{"jsonrpc":"2.0","id":"s1","method":"tools/call","result":{},"params":{"name":"read"}}"#,
            ],
            0,
        ),
    ];
    let mut cells = Vec::new();
    for sides in SIDES {
        for (method, action) in OF_SERVER {
            for (name, answers, expected) in ANSWERS {
                cells.push(async move {
                    let authority = MockAuthority::new().allow(WRITE).allow(action);
                    let stage = Stage::new(format!("asks@{method}"));
                    let mut client = sides.client(&stage, authority).await;
                    client.initialize().await;
                    client.send_json(&request(1, "tools/call")).await;
                    loop {
                        let message = client.next().await;
                        if message["method"] == method {
                            break;
                        }
                    }
                    for answer in answers {
                        client.send(answer).await;
                    }
                    client
                        .try_send(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#)
                        .await;
                    response(&mut client, 9, PATIENCE).await.unwrap();
                    let heard = stage.noted("got ");
                    let heard: Vec<_> = heard
                        .iter()
                        .filter(|line| line.contains("\"s1\"") || line.contains("\"s2\""))
                        .collect();
                    let cell = format!("{sides:?}, {method}, {name}");
                    assert_eq!(heard.len(), expected, "{cell}: {heard:?}");
                    assert!(heard.iter().all(|line| !line.contains("evil")), "{heard:?}");
                    leave(client, Leaves::Closes).await;
                    assert_eq!(stage.runs(), 1, "{cell}");
                });
            }
        }
    }
    assert_eq!(run(cells).await, 3 * 3 * 7);
}
