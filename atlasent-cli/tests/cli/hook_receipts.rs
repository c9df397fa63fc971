//! `atlasent hook --after`: records on the trail how each tool call ended, and blocks nothing.

use atlasent_tests::server::{Reply, Request, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hook::{events, hook, path, stage};
use crate::support::atlasent;

/// An input of Claude Code about the call `id`, with further members.
fn input(event: &str, id: &str, more: &Value) -> String {
    let mut input = json!({
        "session_id": "s", "hook_event_name": event, "tool_use_id": id, "tool_name": "Bash",
        "tool_input": {"command": "git status"},
    });
    let members = input.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    input.to_string()
}

fn before(id: &str) -> String {
    input("PreToolUse", id, &json!({}))
}

/// Returns the number of kept receipts.
fn owed(stage: &TempDir) -> usize {
    let folder = std::fs::read_dir(path(stage, "data/receipts"));
    folder.map_or(0, Iterator::count)
}

#[test]
fn a_call_that_ended_has_a_receipt_with_the_hash_of_its_result() {
    let stage = stage();
    for id in ["toolu_1", "toolu_2"] {
        let answer = hook(&stage, &[], &before(id)).prints();
        assert!(answer.contains("allow"), "{answer}");
    }
    assert_eq!(owed(&stage), 2);
    let done = input(
        "PostToolUse",
        "toolu_1",
        &json!({"tool_response": {"stdout": "clean"}}),
    );
    let failed = input(
        "PostToolUseFailure",
        "toolu_2",
        &json!({"error": "exit 1, hunter2"}),
    );
    for end in [&done, &failed] {
        assert_eq!(hook(&stage, &["--after"], end).prints(), "");
    }
    assert_eq!(owed(&stage), 0);
    let completed = events(&stage, "permit.completed");
    let hash = atlasent::wire::ResultHash::of(r#"{"stdout":"clean"}"#);
    assert_eq!(completed.len(), 1);
    assert!(
        completed[0].to_string().contains(hash.as_str()),
        "{completed:?}"
    );
    let failed = events(&stage, "permit.failed");
    assert_eq!(failed.len(), 1);
    // An error of a tool may contain values of a customer.
    assert!(!failed[0].to_string().contains("hunter2"), "{failed:?}");
    // A repeated end, and the end of a call without a permit, record nothing.
    for end in [done, input("PostToolUse", "toolu_3", &json!({}))] {
        assert_eq!(hook(&stage, &["--after"], &end).prints(), "");
    }
    assert_eq!(events(&stage, "permit.completed").len(), 1);
}

#[test]
fn a_blocked_call_and_a_call_without_an_id_owe_no_receipt() {
    let stage = stage();
    let push = input(
        "PreToolUse",
        "toolu_1",
        &json!({"tool_input": {"command": "git push"}}),
    );
    assert_eq!(hook(&stage, &[], &push).run().code, 2);
    assert_eq!(owed(&stage), 0);
    let nameless = json!({
        "session_id": "s", "hook_event_name": "PreToolUse", "tool_name": "Bash",
        "tool_input": {"command": "git status"},
    });
    hook(&stage, &[], &nameless.to_string()).prints();
    assert_eq!(owed(&stage), 0);
}

#[test]
fn a_receipt_that_cannot_be_kept_blocks_no_call() {
    let stage = stage();
    hook(&stage, &[], &before("toolu_1")).prints();
    let folder = path(&stage, "data/receipts");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "a file where the folder was").unwrap();
    let ended = hook(&stage, &[], &before("toolu_2")).run();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("allow"), "{ended:?}");
    assert!(
        ended.stderr.starts_with("warning: the receipt"),
        "{ended:?}"
    );
}

#[test]
fn an_input_that_is_not_the_end_of_a_call_is_refused_without_a_decision() {
    let stage = stage();
    let twice =
        r#"{"hook_event_name":"PostToolUse","session_id":"s","session_id":"s","tool_use_id":"t"}"#;
    for end in [
        &*before("toolu_1"),
        "",
        "{}",
        "[]",
        twice,
        r#"{"hook_event_name":"PostToolUse","session_id":"s"}"#,
    ] {
        let refused = hook(&stage, &["--after"], end).refusal();
        assert!(
            refused.contains("the input of the hook"),
            "{end}: {refused}"
        );
    }
    // Without `--after`, the hook decides on calls, and an end is not a call.
    let end = input("PostToolUse", "toolu_1", &json!({}));
    assert_eq!(hook(&stage, &[], &end).run().code, 2);
}

#[test]
fn a_receipt_that_the_server_did_not_take_is_kept_for_another_attempt() {
    let stage = stage();
    hook(&stage, &[], &before("toolu_1")).prints();
    let data = path(&stage, "data");
    let end = input("PostToolUse", "toolu_1", &json!({}));
    let server = Server::start(|_: &Request| Reply::status(500));
    let arguments = ["hook", "--after", "--timeout", "2s", "--data-dir", &data];
    let refused = atlasent(arguments)
        .env("ATLASENT_API_KEY", "ask_live_0123456789abcdef")
        .env("ATLASENT_BASE_URL", server.url())
        .stdin(&*end)
        .refusal();
    assert!(!refused.is_empty());
    assert_eq!(owed(&stage), 1);
    assert_eq!(hook(&stage, &["--after"], &end).prints(), "");
    assert_eq!(owed(&stage), 0);
}
