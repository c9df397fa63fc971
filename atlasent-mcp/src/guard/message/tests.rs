use proptest::prelude::*;

use super::*;

fn kind(text: &str) -> Kind {
    Message::parse(text).unwrap().kind().clone()
}

#[test]
fn each_kind_of_message_is_told_by_its_members() {
    let id = || RequestId::Number(7);
    for (text, expected) in [
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#,
            Kind::Request {
                id: id(),
                method: "ping".into(),
            },
        ),
        (
            r#" {"method":"notifications/x","jsonrpc":"2.0"} "#,
            Kind::Notification {
                method: "notifications/x".into(),
            },
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"result":null}"#,
            Kind::Result { id: id() },
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#,
            Kind::Error { id: Some(id()) },
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
            Kind::Error { id: None },
        ),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn the_content_of_a_result_is_passed_on_and_other_content_is_checked() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(80), "]".repeat(80));
    for content in [r#"{"a":1,"a":2}"#, r#"{"b":{"a":1,"\u0061":2}}"#, &deep] {
        let result = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{content}}}"#);
        assert_eq!(Message::parse(&result).unwrap().text(), result);
        for other in [
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{content}}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":7,"error":{content}}}"#),
        ] {
            assert!(Message::parse(&other).is_err(), "{other}");
        }
    }
}

#[test]
fn ids_are_equal_when_every_reader_takes_them_for_equal() {
    let id = |json: &str| RequestId::parse(json);
    assert_eq!(id(r#""a""#), id(r#""\u0061""#));
    assert_ne!(id("1"), id(r#""1""#));
    for bad in [
        "01",
        "+1",
        "-0",
        "1.0",
        "1e2",
        "9007199254740992",
        "true",
        "null",
        "[]",
        r#""\ud800""#,
    ] {
        assert_eq!(id(bad), None, "{bad}");
    }
    assert!(id("-9007199254740991").is_some());
}

#[test]
fn the_body_is_the_text_as_it_was_written() {
    let text = "{\"jsonrpc\":\"2.0\",\"params\":{ \"a\" :\r\n1.50,\"b\":\"\\u0041\"},\"id\":\"x\",\"method\":\"m\"}";
    let message = Message::parse(text).unwrap();
    assert_eq!(message.body(), Some(r#"{ "a" :  1.50,"b":"\u0041"}"#));
    assert_eq!(message.text(), text.replace(['\r', '\n'], " "));
}

#[test]
fn a_text_that_is_too_deep_or_too_long_is_refused() {
    let nested = |levels: usize| {
        let value = format!("{}{}", r#"{"a":"#.repeat(levels), "1");
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{value}{}}}"#,
            "}".repeat(levels)
        )
    };
    assert!(Message::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(Message::parse(&nested(MAX_DEPTH + 1)).is_err());
    assert!(Message::parse(&nested(100_000)).is_err());
    assert!(Message::parse(&" ".repeat(MAX_MESSAGE_BYTES + 1)).is_err());
    assert!(Message::from_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").is_err());
}

#[test]
fn an_error_names_its_request_and_repeats_nothing() {
    let error =
        Message::parse(r#"{"jsonrpc":"2.0","id":"q","method":"hunter2","params":[]}"#).unwrap_err();
    let response = error.response();
    assert!(
        response.contains(r#""id":"q""#) && !response.contains("hunter2"),
        "{response}"
    );
    assert!(Message::parse(&response).is_ok());
}

#[test]
fn no_error_repeats_a_value_or_a_name_of_the_sender() {
    for (text, code) in [
        (r#""hunter2""#, Malformed::INVALID_REQUEST),
        (r#"["hunter2"]"#, Malformed::INVALID_REQUEST),
        ("7", Malformed::INVALID_REQUEST),
        ("null", Malformed::INVALID_REQUEST),
        (r#""hunter2"#, Malformed::PARSE_ERROR),
        ("hunter2", Malformed::PARSE_ERROR),
        (r#"{"hunter2":1}"#, Malformed::INVALID_REQUEST),
        (
            r#"{"jsonrpc":"hunter2","id":1,"method":"m"}"#,
            Malformed::INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":{"hunter2":1},"method":"m"}"#,
            Malformed::INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/hunter2"}"#,
            Malformed::INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"hunter2"}"#,
            Malformed::INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":["hunter2"]}"#,
            Malformed::INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":"hunter2"}"#,
            Malformed::INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"hunter2":1,"hunter2":2}}"#,
            Malformed::INVALID_REQUEST,
        ),
    ] {
        let error = Message::parse(text).unwrap_err();
        assert_eq!(error.code(), code, "{text}");
        let shown = format!("{error} {error:?} {}", error.response());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_and_what_passes_is_one_line(bytes: Vec<u8>) {
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert!(!message.text().contains(['\r', '\n']));
        }
    }

    #[test]
    fn an_accepted_message_means_the_same_to_another_reader(
        text in r#"\{("(jsonrpc|id|method|params|result|error)" ?: ?("2\.0"|"ping"|1|null|\{("a":1,?){0,2}\}),?){0,5}\}"#
    ) {
        if let Ok(message) = Message::parse(&text) {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let method = value.get("method").and_then(serde_json::Value::as_str);
            let is_request = value.get("id").is_some_and(|id| !id.is_null()) && method.is_some();
            match message.kind() {
                Kind::Request { method: read, .. } => {
                    prop_assert!(is_request);
                    prop_assert_eq!(Some(&**read), method);
                }
                _ => prop_assert!(!is_request),
            }
        }
    }

    #[test]
    fn a_response_of_the_guard_is_a_message(code: i64, text in ".{0,40}", id in "[a-z\"\\\\]{0,8}") {
        let id = RequestId::Text(id.into());
        let response = error_response(Some(&id), code, &text, None);
        let message = Message::parse(&response).unwrap();
        prop_assert_eq!(message.kind(), &Kind::Error { id: Some(id) });
    }
}
