//! Reads the members of a message, each at most once and none but those of JSON-RPC 2.0.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Kind, MAX_METHOD_CHARS, Malformed, NOTIFICATIONS, RequestId};

/// The members of a message, as they were written.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.starts_with('[') {
            return Err(Malformed::invalid(
                "a batch of messages is not supported: send one message at a time",
            ));
        }
        // For a value of another type, `serde` would put the whole value into its error.
        if !text.starts_with('{') {
            return Err(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => Malformed::invalid("a message has to be a JSON object"),
                Err(_) => Malformed::parse("not JSON"),
            });
        }
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Malformed::invalid(plain(&error)),
            _ => Malformed::parse("not JSON"),
        })
    }

    /// Returns the text of `params`, `result` or `error`.
    pub(super) fn body(&self) -> Option<&'a str> {
        let body = self.params.or(self.result).or(self.error)?;
        Some(body.get())
    }

    /// Returns what the message is, if its members say exactly one thing.
    pub(super) fn kind(&self) -> Result<Kind, Malformed> {
        let id = self.id.map(RawValue::get);
        let known = id.and_then(RequestId::parse);
        let invalid = |reason: &str| Err(Malformed::invalid(reason).about(known.as_ref()));
        if self.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
            return invalid("`jsonrpc` is not \"2.0\"");
        }
        if id.is_some_and(|id| id != "null") && known.is_none() {
            return invalid(
                "`id` is neither a string of at most 256 bytes nor an integer of at most 53 bits",
            );
        }
        match (self.method, self.result, self.error) {
            (Some(method), None, None) => {
                let method = match method_name(method.get()) {
                    Ok(method) => method,
                    Err(reason) => return invalid(reason),
                };
                if let Some(params) = self.params
                    && !params.get().starts_with('{')
                {
                    return invalid("`params` is not an object");
                }
                match (known, id) {
                    (Some(id), _) if is_request_method(&method) => Ok(Kind::Request { id, method }),
                    (Some(id), _) => {
                        Err(Malformed::invalid("a notification must not have an `id`")
                            .about(Some(&id)))
                    }
                    (None, Some(_)) => Err(Malformed::invalid("the `id` of a request is null")),
                    (None, None) if method.starts_with(NOTIFICATIONS) => {
                        Ok(Kind::Notification { method })
                    }
                    (None, None) => Err(Malformed::invalid(
                        "a message other than a notification needs an `id`",
                    )),
                }
            }
            (None, _, _) if self.params.is_some() => invalid("`params` without `method`"),
            (None, Some(_), None) => match known {
                Some(id) => Ok(Kind::Result { id }),
                None => invalid("a result without an `id`"),
            },
            (None, None, Some(_)) => Ok(Kind::Error { id: known }),
            (None, None, None) => invalid("a message needs `method`, `result` or `error`"),
            _ => invalid("a message has one of `method`, `result` and `error`"),
        }
    }
}

/// Reads the name of a method: printable ASCII without white space, so that no two names look
/// alike.
fn method_name(json: &str) -> Result<Box<str>, &'static str> {
    let method: Box<str> = serde_json::from_str(json).map_err(|_| "`method` is not a string")?;
    match is_method(&method) {
        true => Ok(method),
        false => Err("`method` is not a name of 1 to 128 printable ASCII characters"),
    }
}

fn is_method(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && (1..=MAX_METHOD_CHARS).contains(&name.len())
}

/// Returns whether a request can have a method of this name: 1 to 128 printable ASCII characters,
/// which do not begin as the name of a notification does.
///
/// ```
/// use atlasent_mcp::guard::message::is_request_method;
///
/// assert!(is_request_method("acme/deploy"));
/// assert!(!is_request_method("notifications/acme") && !is_request_method("acme deploy"));
/// ```
#[must_use]
pub fn is_request_method(name: &str) -> bool {
    is_method(name) && !name.starts_with(NOTIFICATIONS)
}

/// Returns the text of an error without the position, which says nothing in a message of one line.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(name) = members.next_key::<String>()? {
            let place = match &*name {
                "jsonrpc" => &mut envelope.jsonrpc,
                "id" => &mut envelope.id,
                "method" => &mut envelope.method,
                "params" => &mut envelope.params,
                "result" => &mut envelope.result,
                "error" => &mut envelope.error,
                // Its name may be long and may be a secret.
                _ => return Err(A::Error::custom("a message has an unknown member")),
            };
            if place.is_some() {
                return Err(A::Error::custom(format_args!("`{name}` is repeated")));
            }
            *place = Some(members.next_value()?);
        }
        Ok(envelope)
    }
}
