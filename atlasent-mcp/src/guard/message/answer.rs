//! Writes the messages of the guard's own.

use serde::Serialize;
use serde_json::value::RawValue;

use super::RequestId;

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    // JSON-RPC wants `null` for a request whose id could not be read.
    id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a serde_json::Value>,
}

/// Returns the text of an error response.
#[must_use]
pub fn error_response(
    id: Option<&RequestId>,
    code: i64,
    message: &str,
    data: Option<&serde_json::Value>,
) -> String {
    to_string(&Response {
        jsonrpc: "2.0",
        id,
        result: None,
        error: Some(ErrorObject {
            code,
            message,
            data,
        }),
    })
}

/// Returns the text of a response with a result.
#[must_use]
pub fn result_response(id: &RequestId, result: &RawValue) -> String {
    to_string(&Response {
        jsonrpc: "2.0",
        id: Some(id),
        result: Some(result),
        error: None,
    })
}

#[expect(
    clippy::expect_used,
    reason = "only maps with keys that are no strings cannot be written"
)]
fn to_string(response: &Response<'_>) -> String {
    serde_json::to_string(response).expect("a response is JSON")
}
