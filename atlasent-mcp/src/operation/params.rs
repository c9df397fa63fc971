//! The `params` of a message, member by member.

use std::borrow::Cow;
use std::fmt;

use atlasent::Context;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Kind, Operation, OperationError, cause, shown};

/// The members of `params` that carry the protocol itself and are not decided on.
const PROTOCOL_MEMBERS: [&str; 5] = ["_meta", "cursor", "inputResponses", "requestState", "task"];

/// The `params` of a message.
pub(super) struct Params<'a> {
    method: &'a str,
    all: Context,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Params<'a> {
    /// Reads all members strictly, also those that are not decided on.
    pub(super) fn parse(
        method: &'a str,
        params: Option<&'a RawValue>,
    ) -> Result<Self, OperationError> {
        let error = |what: String| OperationError::new(method, what);
        let text = params.map_or("{}", RawValue::get);
        if !text.starts_with('{') {
            return Err(error("its `params` are not an object".to_owned()));
        }
        let all = Context::parse(text)
            .map_err(|why| error(format!("its `params` cannot be read: {}", cause(&why))))?;
        let Members(members) = serde_json::from_str(text)
            .map_err(|why| error(format!("its `params` cannot be read: {why}")))?;
        Ok(Self {
            method,
            all,
            members,
        })
    }

    /// Reads an operation that has a `name` and `arguments`.
    pub(super) fn with_arguments(self, kind: Kind) -> Result<Operation, OperationError> {
        for (key, _) in &self.members {
            let is_known = matches!(&**key, "name" | "arguments")
                || PROTOCOL_MEMBERS.contains(&&**key) && key != "cursor";
            if !is_known {
                let key = shown(key);
                return Err(self.error(format!("its `params` have an unknown member `{key}`")));
            }
        }
        let name = self.text("name")?;
        let arguments = self.member("arguments").filter(|text| *text != "null");
        let arguments = arguments.unwrap_or("{}");
        let context = Context::parse(arguments)
            .map_err(|_| self.error("its `arguments` are not an object".to_owned()))?;
        Ok(Operation {
            kind,
            method: self.method.into(),
            target: Some(name.into()),
            arguments: arguments.into(),
            context,
        })
    }

    /// Reads an operation on the value of one member.
    pub(super) fn with_target(self, kind: Kind, member: &str) -> Result<Operation, OperationError> {
        let target = self.text(member)?.to_owned();
        self.with_context(kind, Some(target))
    }

    pub(super) fn with_context(
        self,
        kind: Kind,
        target: Option<String>,
    ) -> Result<Operation, OperationError> {
        let is_decided_on =
            |(key, _): &&(Cow<'_, str>, &RawValue)| !PROTOCOL_MEMBERS.contains(&&**key);
        let mut arguments = String::from("{");
        for (key, value) in self.members.iter().filter(is_decided_on) {
            if arguments.len() > 1 {
                arguments.push(',');
            }
            let key = serde_json::Value::from(&**key);
            arguments.push_str(&format!("{key}:{}", value.get()));
        }
        arguments.push('}');
        let context = Context::parse(&arguments)
            .map_err(|_| self.error("its `params` cannot be read".to_owned()))?;
        Ok(Operation {
            kind,
            method: self.method.into(),
            target: target.map(Into::into),
            arguments: arguments.into(),
            context,
        })
    }

    /// Returns whether the params of `subscriptions/listen` name resources. Lists that changed are
    /// announced to anyone who may list.
    pub(super) fn subscribes_to_resources(&self) -> bool {
        let notifications = self.all.get("notifications");
        let resources = notifications.and_then(|these| these.get("resourceSubscriptions"));
        resources.is_some_and(|these| !these.as_array().is_some_and(Vec::is_empty))
    }

    /// Returns a member that has to be a string with at least one character.
    fn text(&self, member: &str) -> Result<&str, OperationError> {
        let value = self.all.get(member);
        let value = value.ok_or_else(|| self.error(format!("its `params` have no `{member}`")))?;
        let text = value.as_str().filter(|text| !text.is_empty());
        text.ok_or_else(|| self.error(format!("its `{member}` is not a string with characters")))
    }

    /// Returns the text of a member.
    fn member(&self, member: &str) -> Option<&str> {
        let found = self.members.iter().find(|(key, _)| key == member);
        found.map(|(_, value)| value.get())
    }

    fn error(&self, what: String) -> OperationError {
        OperationError::new(self.method, what)
    }
}

/// The members of an object in their order, with the text of each value.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
