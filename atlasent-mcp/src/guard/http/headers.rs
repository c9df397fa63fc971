//! The HTTP headers of the protocol.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::request::only;
use crate::Operation;
use crate::guard::message::{Kind, Message};

/// The id of a session.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The version of the protocol.
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The event after which a stream is resumed.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The method of the message (SEP-2243).
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The name of what the message is about (SEP-2243).
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The member of `_meta` with the version of a message that belongs to no session.
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The first version of the protocol in which the stream of a request begins with an event that has
/// an id and no data, so that the client can come back (SEP-1699).
pub(super) const FIRST_WITH_PRIMERS: &str = "2025-11-25";

/// The first version of the protocol without sessions.
pub(crate) const FIRST_WITHOUT_SESSIONS: &str = "2026-07-28";

/// The prefix of a header value that holds a name in Base64 (SEP-2243).
const ENCODED: &str = "=?base64?";

/// The members of `params` that headers repeat.
#[derive(Default, Deserialize)]
struct Described {
    name: Option<String>,
    uri: Option<String>,
    #[serde(rename = "taskId")]
    task_id: Option<String>,
    #[serde(rename = "_meta")]
    meta: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Described {
    fn new(message: &Message) -> Self {
        let params = message
            .body()
            .and_then(|params| serde_json::from_str(params).ok());
        params.unwrap_or_default()
    }

    fn version(&self) -> Option<&str> {
        self.meta.as_ref()?.get(META_VERSION)?.as_str()
    }

    fn name(&self, method: &str) -> Option<&str> {
        match method {
            "tools/call" | "prompts/get" => self.name.as_deref(),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                self.uri.as_deref()
            }
            "tasks/get" | "tasks/update" | "tasks/cancel" => self.task_id.as_deref(),
            _ => None,
        }
    }
}

/// Sets the headers that describe a message, from the message that was authorized and never from
/// the headers of the client.
pub(super) fn describe(message: &Message, headers: &mut HeaderMap) {
    let (Kind::Request { method, .. } | Kind::Notification { method }) = message.kind() else {
        return;
    };
    let described = Described::new(message);
    if let Some(version) = described
        .version()
        .and_then(|it| HeaderValue::from_str(it).ok())
    {
        headers.insert(PROTOCOL_VERSION, version);
    }
    let version = headers
        .get(PROTOCOL_VERSION)
        .and_then(|it| it.to_str().ok());
    if version.is_none_or(|version| version < FIRST_WITHOUT_SESSIONS) {
        return;
    }
    if let Ok(method) = HeaderValue::from_str(method) {
        headers.insert(METHOD, method);
    }
    if let Some(name) = described.name(method).and_then(header_text) {
        headers.insert(NAME, name);
    }
}

/// Checks that the headers of a request say what its message says. A server may route by either.
pub(super) fn check(message: &Message, headers: &HeaderMap) -> Result<(), &'static str> {
    let (Kind::Request { method, .. } | Kind::Notification { method }) = message.kind() else {
        return Ok(());
    };
    let described = Described::new(message);
    let differs = |header: HeaderName, expected: Option<HeaderValue>| {
        let mut found = headers.get_all(header).iter();
        match (found.next(), found.next()) {
            (None, _) => false,
            (Some(only), None) => expected.as_ref() != Some(only),
            _ => true,
        }
    };
    if differs(METHOD, HeaderValue::from_str(method).ok()) {
        return Err("the header `Mcp-Method` differs from the message");
    }
    if differs(NAME, described.name(method).and_then(header_text)) {
        return Err("the header `Mcp-Name` differs from the message");
    }
    match described.version() {
        Some(version) if differs(PROTOCOL_VERSION, HeaderValue::from_str(version).ok()) => {
            Err("the header `MCP-Protocol-Version` differs from the message")
        }
        _ => Ok(()),
    }
}

/// Reads the operation of a request from its headers alone. Returns `None` if they do not name it,
/// or name it in Base64.
pub(super) fn operation(headers: &HeaderMap) -> Option<Operation> {
    let method = only(headers, &METHOD)?;
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" | "resources/subscribe" => "uri",
        _ => return None,
    };
    let name = only(headers, &NAME).filter(|name| !name.starts_with(ENCODED))?;
    let params = to_raw_value(&json!({ member: name })).ok()?;
    Operation::parse(method, Some(&params)).ok()
}

/// Writes a text as the value of a header: as it is, or in Base64 where a header cannot hold it
/// (SEP-2243).
fn header_text(text: &str) -> Option<HeaderValue> {
    use base64ct::{Base64, Encoding as _};

    let is_plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
        && !text.is_empty()
        && text.trim() == text
        && !(text.starts_with(ENCODED) && text.ends_with("?="));
    let value = match is_plain {
        true => text.to_owned(),
        false => format!("{ENCODED}{}?=", Base64::encode_string(text.as_bytes())),
    };
    HeaderValue::from_str(&value).ok()
}
