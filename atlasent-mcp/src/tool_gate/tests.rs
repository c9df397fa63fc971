//! Tests of the tool calls of models: each shape, the refusals, and the texts that are no call.

use std::sync::atomic::{AtomicUsize, Ordering};

use atlasent::testing::MockAuthority;
use serde_json::json;

use super::*;
use crate::Mapping;
use crate::gate::Silent;

fn table(authority: &Arc<MockAuthority>, runs: &Arc<AtomicUsize>) -> ToolGate {
    let gate = Gate::builder(Arc::clone(authority) as _, Mapping::standard("a").unwrap());
    let tool = Tool::new(
        "pay",
        json!({"properties": {"cents": {"type": "integer"}}, "required": ["cents"]}),
    );
    let runs = Arc::clone(runs);
    let body = move |call: ToolCall| {
        runs.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, String>(call.text().to_owned()) }
    };
    ToolGate::builder(gate.build())
        .tool(tool.unwrap(), body)
        .build()
        .unwrap()
}

fn answer(authority: MockAuthority, call: &str) -> (ToolAnswer, usize, Arc<MockAuthority>) {
    let (authority, runs) = (Arc::new(authority), Arc::new(AtomicUsize::new(0)));
    let table = table(&authority, &runs);
    let caller = Caller::configured("bot").unwrap();
    let answer = futures_executor::block_on(table.call(call, &caller, &Silent));
    (answer, runs.load(Ordering::SeqCst), authority)
}

const CALLS: [&str; 3] = [
    r#"{"id":"c1","type":"function","function":{"name":"pay","arguments":"{\"cents\": 7}"}}"#,
    r#"{"type":"function_call","call_id":"c1","name":"pay","arguments":"{\"cents\": 7}"}"#,
    r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents": 7}}"#,
];

#[test]
fn each_shape_runs_what_was_decided_on_and_is_answered_in_its_shape() {
    let answers = [
        json!({"role": "tool", "tool_call_id": "c1", "content": r#"{"cents": 7}"#}),
        json!({"type": "function_call_output", "call_id": "c1", "output": r#"{"cents": 7}"#}),
        json!({"type": "tool_result", "tool_use_id": "c1", "content": r#"{"cents": 7}"#, "is_error": false}),
    ];
    for (call, expected) in CALLS.into_iter().zip(answers) {
        let (answer, runs, authority) = answer(MockAuthority::new().allow("mcp.a.pay"), call);
        assert_eq!((answer.message(), runs), (expected, 1), "{call}");
        assert_eq!(authority.calls().len(), 2);
    }
}

#[test]
fn what_is_not_allowed_does_not_run() {
    for call in CALLS {
        for authority in [
            MockAuthority::new(),
            MockAuthority::new().deny("mcp.a.pay", "no"),
            MockAuthority::new().hold("mcp.a.pay", "wait"),
            MockAuthority::new().allow("mcp.a.refund"),
        ] {
            let (answer, runs, _) = answer(authority, call);
            assert!(answer.refusal().is_some() && answer.is_error(), "{call}");
            assert_eq!(runs, 0, "{call}");
        }
    }
}

#[test]
fn a_malformed_call_asks_nobody() {
    for call in [
        "",
        "null",
        r#"{"type":"function","name":"pay"}"#,
        r#"{"name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":7,"cents":8}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","name":"refund","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":"{\"cents\":7}"}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":7},"function":{"name":"x"}}"#,
        r#"{"type":"function","id":"c1","function":{"name":"pay","arguments":{"cents":7}}}"#,
        r#"{"type":"function","id":"c1","function":{"name":"pay","arguments":"{\"cents\":7,\"cents\":8}"}}"#,
        r#"{"type":"tool_use","id":"c1","name":"refund","input":{}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":"seven"}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{}}"#,
    ] {
        let (answer, runs, authority) = answer(MockAuthority::new().allow("mcp.a.pay"), call);
        assert!(answer.refusal().is_some(), "{call}");
        assert_eq!((runs, authority.calls().len()), (0, 0), "{call}");
    }
}

/// Asserts that a call is refused without running, and returns its answer without the text.
#[track_caller]
fn refused_in(call: &str) -> Value {
    let (answer, runs, authority) = answer(MockAuthority::new().allow("mcp.a.pay"), call);
    assert!(answer.refusal().is_some() && answer.is_error(), "{call}");
    assert_eq!((runs, authority.calls().len()), (0, 0), "{call}");
    let mut message = answer.message();
    let members = message.as_object_mut().unwrap();
    let text = members.remove("content");
    let text = text.or_else(|| members.remove("output"));
    assert!(text.is_some(), "{call}");
    message
}

#[test]
fn a_malformed_call_is_refused_in_its_shape_and_by_its_id() {
    let deep = format!(
        r#"{{"type":"tool_use","id":"c1","name":"pay","input":{{"cents":{}{}}}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    for call in [
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":7,"cents":8}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","name":"refund","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":"c1","id":"c1","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":"{\"cents\":7}"}"#,
        r#"{"type":"tool_use","id":"c1","call_id":"c2","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":"c1","name":"pay","input":{"cents":"#,
        r#"{"type":"tool_use","id":"c1"}"#,
        &deep,
    ] {
        let expected = json!({"type": "tool_result", "tool_use_id": "c1", "is_error": true});
        assert_eq!(refused_in(call), expected, "{call}");
    }
    for call in [
        r#"{"type":"function","id":"c1","function":{"name":"pay","arguments":{"cents":7}}}"#,
        r#"{"type":"function","id":"c1","name":"pay","arguments":"{\"cents\":7}"}"#,
        r#"{"id":"c1","type":"function","type":"function"}"#,
    ] {
        let expected = json!({"role": "tool", "tool_call_id": "c1"});
        assert_eq!(refused_in(call), expected, "{call}");
    }
    for call in [
        r#"{"type":"function_call","call_id":"c1","name":"pay","arguments":{"cents":7}}"#,
        r#"{"type":"function_call","id":7,"call_id":"c1","name":"pay","arguments":"{}"}"#,
        r#"{"type":"function_call","id":"a","id":"b","call_id":"c1","name":"pay","arguments":"{}"}"#,
    ] {
        let expected = json!({"type": "function_call_output", "call_id": "c1"});
        assert_eq!(refused_in(call), expected, "{call}");
    }
}

#[test]
fn a_text_without_a_type_and_an_id_is_refused_with_an_empty_id() {
    let several = format!("[{}]", CALLS.join(","));
    for text in [
        "pay",
        &several,
        r#"{"id":"c1","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"pay","id":"c1","name":"pay","input":{"cents":7}}"#,
        r#"{"type":["tool_use"],"id":"c1","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","type":"function","id":"c1","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":7,"name":"pay","input":{"cents":7}}"#,
        r#"{"type":"tool_use","id":"c1","id":"c2","name":"pay","input":{"cents":7}}"#,
        r#"{"type":"function_call","id":"c1","name":"pay","arguments":"{}"}"#,
    ] {
        let expected = json!({"role": "tool", "tool_call_id": ""});
        assert_eq!(refused_in(text), expected, "{text}");
    }
}
