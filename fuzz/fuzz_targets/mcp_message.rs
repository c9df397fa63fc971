//! Any bytes as a message of the Model Context Protocol: what passes is one line, means the same to
//! another reader, and passes again.

#![no_main]

use atlasent_mcp::guard::message::{Kind, Message};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Ok(message) = Message::from_bytes(input) else {
        return;
    };
    let text = message.text();
    assert!(!text.contains(['\r', '\n']));
    let again = Message::parse(text).expect("a message that passed");
    assert_eq!(again.kind(), message.kind());
    assert_eq!(again.body(), message.body());

    let value: Value = serde_json::from_str(text).expect("JSON");
    let method = value.get("method").and_then(Value::as_str);
    match message.kind() {
        Kind::Request { method: read, .. } | Kind::Notification { method: read } => {
            assert_eq!(Some(&**read), method);
        }
        Kind::Result { .. } | Kind::Error { .. } => assert_eq!(method, None),
    }
    let is_call = matches!(message.kind(), Kind::Request { .. });
    assert_eq!(is_call, method.is_some() && value.get("id").is_some());
});
