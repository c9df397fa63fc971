//! Tests that messages are read as the right operations.

use super::*;

fn parse(method: &str, params: &str) -> Result<Operation, OperationError> {
    let params: &RawValue = serde_json::from_str(params).unwrap();
    Operation::parse(method, Some(params))
}

fn why(method: &str, params: &str) -> String {
    parse(method, params).unwrap_err().to_string()
}

#[test]
fn a_call_of_a_tool_keeps_the_text_of_its_arguments() {
    for (params, arguments) in [
        (r#"{"name":"t"}"#, "{}"),
        (r#"{"name":"t","arguments":null}"#, "{}"),
        (
            r#"{"arguments": { "a": 1.50, "b":[1e2] } ,"name":"t","_meta":{"progressToken":1}}"#,
            r#"{ "a": 1.50, "b":[1e2] }"#,
        ),
        (
            r#"{"\u006eame":"t","arguments":{"\u0061":1},"task":{"ttl":1}}"#,
            r#"{"\u0061":1}"#,
        ),
    ] {
        let operation = parse("tools/call", params).unwrap();
        assert_eq!(operation.kind(), Kind::Tool, "{params}");
        assert_eq!(operation.target(), Some("t"), "{params}");
        assert_eq!(operation.arguments(), arguments);
        assert_eq!(operation.context(), &Context::parse(arguments).unwrap());
    }
}

#[test]
fn a_member_that_could_be_read_in_two_ways_is_refused() {
    for (params, expected) in [
        (r#"{"name":"a","name":"b"}"#, "the key `name` is repeated"),
        (
            r#"{"name":"a","n\u0061me":"b"}"#,
            "the key `name` is repeated",
        ),
        (
            r#"{"name":"a","arguments":{"x":[{"y":1,"y":2}]}}"#,
            "the key `y` is repeated",
        ),
        (
            r#"{"name":"a","_meta":{"x":1,"x":2}}"#,
            "the key `x` is repeated",
        ),
        (
            r#"{"name":"a","Arguments":{}}"#,
            "an unknown member `Arguments`",
        ),
        (r#"{"name":"a","args":{}}"#, "an unknown member `args`"),
        (r#"{"name":"a","cursor":"1"}"#, "an unknown member `cursor`"),
        (r#"{"name":""}"#, "`name` is not a string with characters"),
        (r#"{"name":7}"#, "`name` is not a string"),
        (r#"{"name":["a"]}"#, "`name` is not a string"),
        (r#"{"arguments":{}}"#, "have no `name`"),
        (
            r#"{"name":"a","arguments":[]}"#,
            "`arguments` are not an object",
        ),
        (
            r#"{"name":"a","arguments":"{}"}"#,
            "`arguments` are not an object",
        ),
        (r#"["a",{}]"#, "`params` are not an object"),
        ("null", "`params` are not an object"),
    ] {
        let why = why("tools/call", params);
        assert!(why.contains(expected), "{params}: {why}");
    }
}

#[test]
fn every_method_has_its_kind_and_target() {
    for (method, params, kind, target) in [
        ("prompts/get", r#"{"name":"p"}"#, Kind::Prompt, Some("p")),
        (
            "resources/read",
            r#"{"uri":"file:///a"}"#,
            Kind::Resource,
            Some("file:///a"),
        ),
        (
            "resources/subscribe",
            r#"{"uri":"u"}"#,
            Kind::Resource,
            Some("u"),
        ),
        (
            "resources/directory/read",
            r#"{"uri":"u"}"#,
            Kind::Resource,
            Some("u"),
        ),
        ("skills/get", r#"{"uri":"u"}"#, Kind::Resource, Some("u")),
        ("tasks/get", r#"{"taskId":"1"}"#, Kind::Task, Some("1")),
        ("tasks/result", r#"{"taskId":"1"}"#, Kind::Task, Some("1")),
        ("tasks/cancel", r#"{"taskId":"1"}"#, Kind::Task, Some("1")),
        (
            "tasks/update",
            r#"{"taskId":"1","inputResponses":{}}"#,
            Kind::Task,
            Some("1"),
        ),
        ("tasks/list", "{}", Kind::Other, None),
        (
            "logging/setLevel",
            r#"{"level":"debug"}"#,
            Kind::Other,
            None,
        ),
        ("sampling/createMessage", "{}", Kind::Client, None),
        ("elicitation/create", "{}", Kind::Client, None),
        ("roots/list", "{}", Kind::Client, None),
        ("tools/list", r#"{"cursor":"x"}"#, Kind::List, None),
        ("initialize", "{}", Kind::Lifecycle, None),
        ("notifications/cancelled", "{}", Kind::Lifecycle, None),
        (
            "subscriptions/listen",
            r#"{"notifications":{"toolsListChanged":true}}"#,
            Kind::Lifecycle,
            None,
        ),
        (
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":[]}}"#,
            Kind::Lifecycle,
            None,
        ),
        (
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":["u"]}}"#,
            Kind::Other,
            None,
        ),
        (
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":{"u":1}}}"#,
            Kind::Other,
            None,
        ),
        ("Tools/Call", "{}", Kind::Unknown, None),
        ("tools/call ", "{}", Kind::Unknown, None),
        ("notifications/run", "{}", Kind::Unknown, None),
        ("", "{}", Kind::Unknown, None),
    ] {
        let operation = parse(method, params).unwrap();
        assert_eq!(
            (operation.kind(), operation.target()),
            (kind, target),
            "{method}"
        );
    }
    assert!(Operation::parse("ping", None).unwrap().is_open());
    assert!(Operation::parse("tools/call", None).is_err());
}

#[test]
fn all_params_but_those_of_the_protocol_are_decided_on() {
    for (method, params, decided_on) in [
        (
            "resources/read",
            r#"{"uri":"u","_meta":{"a":1},"requestState":"s","other" : 1.0}"#,
            r#"{"uri":"u","requestState":"s","other":1.0}"#,
        ),
        (
            "resources/directory/read",
            r#"{"uri":"u","cursor":"2"}"#,
            r#"{"uri":"u"}"#,
        ),
        (
            "resources/read",
            r#"{"uri":"u","cursor":"2","task":1}"#,
            r#"{"uri":"u","cursor":"2","task":1}"#,
        ),
        (
            "tasks/update",
            r#"{"taskId":"1","inputResponses":{"a":{"action":"accept"}}}"#,
            r#"{"taskId":"1","inputResponses":{"a":{"action":"accept"}}}"#,
        ),
        (
            "sampling/createMessage",
            r#"{"messages":[],"task":{"ttl":1}}"#,
            r#"{"messages":[]}"#,
        ),
        (
            "acme/deploy",
            r#"{"to":"\u0070rod","task":"a","cursor":1,"requestState":2,"inputResponses":3,"_meta":{}}"#,
            r#"{"to":"\u0070rod","task":"a","cursor":1,"requestState":2,"inputResponses":3}"#,
        ),
    ] {
        let operation = parse(method, params).unwrap();
        assert_eq!(operation.arguments(), decided_on, "{params}");
        assert_eq!(operation.context(), &Context::parse(decided_on).unwrap());
    }
}

#[test]
fn answers_to_the_server_are_decided_on_beside_the_arguments() {
    for method in ["tools/call", "prompts/get"] {
        for (params, context, arguments) in [
            (
                r#"{"name":"t","inputResponses":{"ok":{"action":"accept"}}}"#,
                r#"{"inputResponses":{"ok":{"action":"accept"}}}"#,
                "{}",
            ),
            (
                r#"{"name":"t","arguments":{ "a": 1.50 },"requestState":"s","inputResponses":null}"#,
                r#"{"a": 1.50,"inputResponses":null,"requestState":"s"}"#,
                r#"{ "a": 1.50 }"#,
            ),
        ] {
            let operation = parse(method, params).unwrap();
            assert_eq!(operation.context(), &Context::parse(context).unwrap());
            assert_eq!(operation.arguments(), arguments);
            let values: Value = serde_json::from_str(arguments).unwrap();
            assert_eq!(Value::Object(operation.argument_values()), values);
        }
    }
    // No two different messages have the same context.
    let arguments = r#"{"inputResponses":{}}"#;
    let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
    assert!(why("tools/call", &params).contains("`inputResponses`"));
    assert!(Operation::tool("t", arguments).is_err());
}

#[test]
fn a_malformed_task_is_refused() {
    for task in [
        r#""staging""#,
        "null",
        "[]",
        r#"{"ttl":"1"}"#,
        r#"{"ttl":1,"to":"prod"}"#,
    ] {
        let params = format!(r#"{{"name":"t","task":{task}}}"#);
        assert!(why("tools/call", &params).contains("`task`"), "{task}");
        let params = format!(r#"{{"messages":[],"task":{task}}}"#);
        assert!(parse("sampling/createMessage", &params).is_err(), "{task}");
    }
    assert!(
        parse(
            "tools/call",
            r#"{"name":"t","task":{"ttl":null,"pollInterval":5}}"#
        )
        .is_ok()
    );
    assert!(parse("prompts/get", r#"{"name":"t","task":{"ttl":1}}"#).is_err());
}

#[cfg(any(feature = "guard", feature = "rmcp"))]
#[test]
fn each_side_is_asked_only_for_operations_that_are_its_own() {
    for (method, params, is_for_client, is_for_server) in [
        ("tools/call", r#"{"name":"t"}"#, false, true),
        ("prompts/get", r#"{"name":"t"}"#, false, true),
        ("resources/read", r#"{"uri":"u"}"#, false, true),
        ("tools/list", "{}", false, true),
        ("initialize", "{}", false, true),
        ("logging/setLevel", "{}", false, true),
        ("tasks/get", r#"{"taskId":"1"}"#, true, true),
        ("tasks/list", "{}", true, true),
        ("ping", "{}", true, true),
        ("acme/deploy", "{}", true, true),
        ("sampling/createMessage", "{}", true, false),
        ("elicitation/create", "{}", true, false),
        ("roots/list", "{}", true, false),
    ] {
        let operation = parse(method, params).unwrap();
        let found = (operation.is_for_client(), operation.is_for_server());
        assert_eq!(found, (is_for_client, is_for_server), "{method}");
    }
}

#[test]
fn a_target_of_another_type_is_refused() {
    for method in ["resources/read", "resources/subscribe", "skills/get"] {
        for params in ["{}", r#"{"uri":null}"#, r#"{"uri":["a"]}"#, r#"{"uri":""}"#] {
            assert!(parse(method, params).is_err(), "{method} {params}");
        }
    }
    assert!(parse("tasks/get", r#"{"taskId":1}"#).is_err());
}

#[test]
fn no_error_and_no_debug_output_shows_a_value() {
    let operation = parse(
        "tools/call",
        r#"{"name":"t","arguments":{"pin":"hunter2"}}"#,
    );
    assert!(!format!("{operation:?}").contains("hunter2"));
    let error = why("tools/call", r#"{"name":"t","arguments":["hunter2"]}"#);
    assert!(!error.contains("hunter2"), "{error}");
    let long = "x".repeat(10_000);
    let error = why("tools/call", &format!(r#"{{"name":"t","{long}":1}}"#));
    assert!(error.len() < 300);
}

proptest::proptest! {
    #[test]
    fn the_context_has_the_values_that_a_reader_of_the_text_reads(
        arguments in "\\{\"a\":[\\[\\]{},:\"ab0-9. e\\\\u-]{0,24}\\}"
    ) {
        let text = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
        let Ok(params) = serde_json::from_str::<&RawValue>(&text) else { return Ok(()) };
        if let Ok(operation) = Operation::parse("tools/call", Some(params)) {
            proptest::prop_assert_eq!(operation.arguments(), arguments.trim());
            // A number that is too large for a float is read by few.
            if let Ok(read) = serde_json::from_str::<Value>(&arguments) {
                let decided_on = operation.context().as_object();
                proptest::prop_assert_eq!(Some(decided_on), read.as_object());
            }
        }
    }
}
