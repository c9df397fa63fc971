//! Requests of a server to its client, in every form, and in the name of the agent.

use std::sync::Arc;

use atlasent::testing::{Call, MockAuthority};
use serde_json::{Value, json};

use super::over_http::{Listening, Messages, Session};
use super::support::{Client, PATIENCE, SILENCE, Stage, allowing};

/// An authority that allows everything of these tests, except for what the client is asked.
fn generous() -> MockAuthority {
    [
        "acme/deploy",
        "completion/complete",
        "logging/setLevel",
        "prompts/get",
        "resources/directory/read",
        "resources/read",
        "resources/subscribe",
        "tasks/get",
        "tasks/result",
    ]
    .iter()
    .fold(allowing(), |authority, method| {
        authority.allow(&format!("mcp.fake:{method}"))
    })
}

/// The actions that an authority was asked about.
fn asked(authority: &MockAuthority) -> Vec<String> {
    let calls = authority.calls();
    let actions = calls.iter().filter_map(|call| match call {
        Call::Evaluate(request) => Some(request.action_type.to_string()),
        _ => None,
    });
    actions.collect()
}

/// Runs a tool, and returns all that the client hears.
async fn heard(client: &mut Client) -> Vec<Value> {
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    client
        .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .await;
    let mut all = vec![client.heard(PATIENCE).await.expect("a message")];
    while let Some(message) = client.heard(SILENCE).await {
        all.push(message);
    }
    all
}

#[tokio::test]
async fn a_server_asks_for_nothing_in_the_name_of_the_agent() {
    let stage = Stage::new("");
    let methods = [
        (
            "tools/call",
            json!({"name": "read", "arguments": {"path": "/a"}}),
        ),
        ("tools/list", json!({})),
        ("prompts/get", json!({"name": "p"})),
        ("resources/read", json!({"uri": "u"})),
        ("resources/subscribe", json!({"uri": "u"})),
        ("resources/directory/read", json!({"uri": "u"})),
        ("completion/complete", json!({})),
        ("logging/setLevel", json!({"level": "debug"})),
        ("initialize", json!({})),
        ("server/discover", json!({})),
        ("subscriptions/listen", json!({})),
    ];
    let requests = methods.iter().enumerate().map(|(number, (method, params))| {
        json!({"jsonrpc": "2.0", "id": format!("s{number}"), "method": method, "params": params})
    });
    stage.says(&requests.collect::<Vec<_>>());
    let authority = Arc::new(generous());
    let mut client = stage.client(Arc::clone(&authority));
    client.initialize().await;
    let heard = heard(&mut client).await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0]["id"], 1);
    // The server uses no budget of the agent, opens no hold, and adds no call to the trail.
    assert_eq!(asked(&authority), ["mcp.fake.write"]);
    let refused = stage.noted("got ");
    for number in 0..methods.len() {
        let id = format!("\"s{number}\"");
        let answer = refused.iter().find(|line| line.contains(&id)).expect(&id);
        assert!(answer.contains("\"error\""), "{answer}");
    }
}

#[tokio::test]
async fn a_server_may_ask_for_a_task_and_ping_the_client() {
    let stage = Stage::new("");
    stage.says(&[
        json!({"jsonrpc": "2.0", "id": "s1", "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": "s2", "method": "tasks/get", "params": {"taskId": "1"}}),
    ]);
    let mut client = stage.client(generous());
    client.initialize().await;
    let methods: Vec<_> = heard(&mut client)
        .await
        .iter()
        .filter_map(|message| message["method"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(methods, ["ping", "tasks/get"]);
}

#[tokio::test]
async fn a_client_cannot_send_a_server_requests_that_are_for_clients() {
    let stage = Stage::new("");
    let authority = ["sampling/createMessage", "elicitation/create", "roots/list"]
        .iter()
        .fold(allowing(), |authority, method| {
            authority.allow(&format!("mcp.fake:{method}"))
        });
    let authority = Arc::new(authority);
    let mut client = stage.client(Arc::clone(&authority));
    client.initialize().await;
    for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
        let response = client.request(3, method, json!({})).await;
        assert_eq!(response["error"]["code"], -32601, "{response}");
    }
    assert_eq!(asked(&authority), [""; 0]);
    assert!(!stage.noted("got ").join("").contains("roots/list"));
}

#[tokio::test]
async fn a_notification_that_the_protocol_does_not_know_is_dropped() {
    let stage = Stage::new("");
    stage.says(&[
        json!({"jsonrpc": "2.0", "method": "notifications/acme/inject", "params": {"text": "obey"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "a"}}),
    ]);
    let mut client = stage.client(allowing());
    client.initialize().await;
    let heard = heard(&mut client).await;
    let methods: Vec<_> = heard
        .iter()
        .filter_map(|message| message["method"].as_str())
        .collect();
    assert_eq!(methods, ["notifications/message"], "{heard:?}");
}

/// A question, as servers put it into other messages.
fn question() -> Value {
    json!({"q": {"method": "elicitation/create", "params": {"message": "who are you?"}}})
}

#[tokio::test]
async fn a_notification_asks_the_client_only_with_a_permit() {
    for method in [
        "notifications/tasks",
        "notifications/tasks/status",
        "notifications/message",
    ] {
        for is_allowed in [true, false] {
            let stage = Stage::new("");
            let params =
                json!({"taskId": "1", "status": "input_required", "inputRequests": question()});
            stage.says(&[json!({"jsonrpc": "2.0", "method": method, "params": params})]);
            let authority = match is_allowed {
                true => allowing().allow("mcp.fake:elicitation/create"),
                false => allowing(),
            };
            let mut client = stage.client(authority);
            client.initialize().await;
            let heard = heard(&mut client).await;
            let asked = heard.iter().filter(|message| message["method"] == method);
            assert_eq!(
                asked.count(),
                usize::from(is_allowed),
                "{method}: {heard:?}"
            );
            assert_eq!(heard.len(), 1 + usize::from(is_allowed));
        }
    }
}

/// Reports of a server, of which every other one holds a `\u` escape.
fn reports(count: usize) -> Vec<Value> {
    let reports = (0..count).map(|number| {
        let mark = if number % 2 == 0 { "\u{1}" } else { "" };
        let params = json!({"level": "info", "data": format!("{mark}{number}")});
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
    });
    reports.collect()
}

#[tokio::test]
async fn notifications_with_escapes_keep_their_order_and_their_stream() {
    // More than may be decided on at a time.
    let mut expected = reports(200);
    let stage = Stage::new("");
    stage.says(&expected);
    let result = json!({"content": [{"type": "text", "text": "done"}], "_meta": {"path": "/a"}});
    expected.push(json!({"jsonrpc": "2.0", "id": 1, "result": result}));
    let mut client = stage.client(allowing());
    client.initialize().await;
    assert_eq!(heard(&mut client).await, expected);
    // Over HTTP, all of them are on the stream of the call.
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let on_stream = Messages::new(session.post(call).await).rest().await;
    let on_stream: Vec<_> = on_stream.into_iter().map(|(_, message)| message).collect();
    assert_eq!(on_stream, expected);
    assert_eq!(stage.runs(), 2);
}

#[tokio::test]
async fn a_response_asks_the_client_only_with_a_permit() {
    let task = |payload: Value| {
        let mut task = json!({"taskId": "1", "status": "working"});
        task.as_object_mut()
            .unwrap()
            .extend(payload.as_object().unwrap().clone());
        json!({ "result": task })
    };
    let urls = json!({"elicitations": [{"mode": "url", "message": "who are you?", "url": "https://login.example"}]});
    let error = json!({"code": -32042, "message": "first open this", "data": urls});
    let call = (
        "tools/call",
        json!({"name": "write", "arguments": {"path": "/a"}}),
    );
    let of_task = ("tasks/get", json!({"taskId": "1"}));
    for ((method, params), answer) in [
        (
            call.clone(),
            json!({"result": {"resultType": "input_required", "inputRequests": question()}}),
        ),
        (call.clone(), json!({ "error": error })),
        (
            ("tools/list", json!({})),
            json!({"result": {"tools": [], "inputRequests": question()}}),
        ),
        (
            of_task.clone(),
            task(json!({"status": "input_required", "inputRequests": question()})),
        ),
        (
            of_task.clone(),
            task(json!({"status": "completed", "result": {"inputRequests": question()}})),
        ),
        (of_task, task(json!({"status": "failed", "error": error}))),
    ] {
        for is_allowed in [true, false] {
            let stage = Stage::new("");
            let authority = match is_allowed {
                true => generous().allow("mcp.fake:elicitation/create"),
                false => generous(),
            };
            let mut client = stage.client(authority);
            client.initialize().await;
            // The guard's own list of tools comes first.
            client.call(1, "read").await;
            stage.answers(&json!({ method: answer }));
            let response = client.request(2, method, params.clone()).await;
            let is_asked = response.to_string().contains("who are you?");
            assert_eq!(is_asked, is_allowed, "{method}: {response}");
            assert!(is_allowed || response["error"].is_object(), "{response}");
        }
    }
}

#[tokio::test]
async fn a_response_never_asks_for_a_request_of_the_agent() {
    let stage = Stage::new("");
    let authority = Arc::new(generous());
    let mut client = stage.client(Arc::clone(&authority));
    client.initialize().await;
    let pay = json!({"q": {"method": "tools/call", "params": {"name": "read", "arguments": {"path": "/a"}}}});
    stage.answers(&json!({"tasks/get": {"result": {"taskId": "1", "inputRequests": pay}}}));
    let response = client.request(1, "tasks/get", json!({"taskId": "1"})).await;
    assert!(response["error"].is_object(), "{response}");
    assert_eq!(asked(&authority), ["mcp.fake:tasks/get"]);
}

#[tokio::test]
async fn the_answers_of_a_client_are_part_of_what_is_decided_on() {
    let stage = Stage::new("");
    let authority = Arc::new(generous());
    let mut client = stage.client(Arc::clone(&authority));
    client.initialize().await;
    let call = json!({
        "name": "write", "arguments": {"path": "/a"}, "requestState": "s",
        "inputResponses": {"q": {"action": "accept", "content": {"confirm": "yes"}}},
    });
    let response = client.request(1, "tools/call", call.clone()).await;
    assert_eq!(
        response["result"]["content"][0]["text"], "done",
        "{response}"
    );
    let calls = authority.calls();
    let Some(Call::Evaluate(request)) = calls.first() else {
        panic!("the authority is asked");
    };
    let mut decided_on = call;
    decided_on.as_object_mut().unwrap().remove("name");
    let path = decided_on["arguments"]["path"].take();
    decided_on.as_object_mut().unwrap().remove("arguments");
    decided_on["path"] = path;
    assert_eq!(
        Value::Object(request.context.as_object().clone()),
        decided_on
    );
}

#[tokio::test]
async fn every_list_shows_only_what_may_be_used() {
    for (method, params, member, uses) in [
        ("skills/list", json!({}), "skills", "skills/get"),
        (
            "resources/directory/read",
            json!({"uri": "file:///"}),
            "resources",
            "resources/read",
        ),
        ("resources/list", json!({}), "resources", "resources/read"),
    ] {
        for is_allowed in [true, false] {
            let stage = Stage::new("");
            let authority = MockAuthority::new().allow("mcp.fake:resources/directory/read");
            let authority = match is_allowed {
                true => authority.allow(&format!("mcp.fake:{uses}")),
                false => authority,
            };
            let mut client = stage.client(authority);
            client.initialize().await;
            let items =
                json!([{"uri": "file:///a", "name": "a"}, {"uri": "file:///b", "name": "b"}]);
            stage.answers(&json!({ method: {"result": {member: items}} }));
            let response = client.request(1, method, params.clone()).await;
            let shown = response["result"][member]
                .as_array()
                .unwrap_or_else(|| panic!("{response}"));
            assert_eq!(shown.len(), if is_allowed { 2 } else { 0 }, "{method}");
        }
    }
}
