//! The `params` of a message, member by member.

use std::borrow::Cow;
use std::fmt;

use atlasent::Context;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Kind, Operation, OperationError, cause, shown};

/// The member of every message that belongs to the protocol itself, and is not decided on.
const META: &str = "_meta";

/// The methods with a `cursor`, which only chooses a page, and is not decided on.
const PAGED: [&str; 7] = [
    "prompts/list",
    "resources/directory/read",
    "resources/list",
    "resources/templates/list",
    "skills/list",
    "tasks/list",
    "tools/list",
];

/// The methods with a `task`, which only says how the result is delivered, and is not decided on.
const AS_TASK: [&str; 3] = ["elicitation/create", "sampling/createMessage", "tools/call"];

/// The members of a `task`.
const OF_TASK: [&str; 2] = ["pollInterval", "ttl"];

/// The members of a request that answer what the server asked for. The server acts on them, so they
/// are decided on beside the arguments. An argument with one of these names is refused.
pub(super) const ANSWERS: [&str; 2] = ["inputResponses", "requestState"];

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
            .map_err(|_| error("its `params` cannot be read".to_owned()))?;
        Ok(Self {
            method,
            all,
            members,
        })
    }

    /// Reads an operation that has a `name` and `arguments`.
    pub(super) fn with_arguments(self, kind: Kind) -> Result<Operation, OperationError> {
        self.check_task()?;
        for (key, _) in &self.members {
            let is_known = matches!(&**key, "name" | "arguments")
                || ANSWERS.contains(&&**key)
                || !self.is_decided_on(key);
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
        check_names(self.method, &context)?;
        Ok(Operation {
            kind,
            method: self.method.into(),
            target: Some(name.into()),
            arguments: arguments.into(),
            context: self.with_answers(arguments, context)?,
            is_task: self.is_task(),
        })
    }

    /// Returns the context: the arguments, and the members that answer the server.
    fn with_answers(&self, arguments: &str, context: Context) -> Result<Context, OperationError> {
        let answers = ANSWERS
            .into_iter()
            .filter_map(|name| Some((name, self.member(name)?)));
        let mut members: Vec<String> = answers
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        if members.is_empty() {
            return Ok(context);
        }
        let inner = arguments.trim().strip_prefix('{');
        let inner = inner.and_then(|inner| inner.strip_suffix('}'));
        if let Some(inner) = inner.map(str::trim).filter(|inner| !inner.is_empty()) {
            members.insert(0, inner.to_owned());
        }
        Context::parse(&format!("{{{}}}", members.join(",")))
            .map_err(|_| self.error("its `params` cannot be read".to_owned()))
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
        self.check_task()?;
        let mut arguments = String::from("{");
        let decided_on = self.members.iter();
        for (key, value) in decided_on.filter(|(key, _)| self.is_decided_on(key)) {
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
            is_task: self.is_task(),
        })
    }

    /// Returns whether the request is sent as a task.
    fn is_task(&self) -> bool {
        AS_TASK.contains(&self.method) && self.all.get("task").is_some()
    }

    /// Returns whether a member is decided on. A member of the protocol is not, but only for the
    /// methods that it is defined for: with another method, the server may act on it.
    fn is_decided_on(&self, member: &str) -> bool {
        match member {
            META => false,
            "cursor" => !PAGED.contains(&self.method),
            "task" => !AS_TASK.contains(&self.method),
            _ => true,
        }
    }

    /// Checks that a `task` that is not decided on has only the members that the protocol defines.
    fn check_task(&self) -> Result<(), OperationError> {
        if self.is_decided_on("task") {
            return Ok(());
        }
        let Some(task) = self.all.get("task") else {
            return Ok(());
        };
        let is_known = task.as_object().is_some_and(|members| {
            members.iter().all(|(name, value)| {
                OF_TASK.contains(&&**name) && (value.is_number() || value.is_null())
            })
        });
        match is_known {
            true => Ok(()),
            false => Err(self.error(
                "its `task` is not an object with `ttl` and `pollInterval`, which are numbers"
                    .to_owned(),
            )),
        }
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

/// Refuses an argument whose name the context uses for another part of the message.
pub(super) fn check_names(method: &str, arguments: &Context) -> Result<(), OperationError> {
    let taken = ANSWERS
        .into_iter()
        .find(|name| arguments.get(name).is_some());
    match taken {
        None => Ok(()),
        Some(name) => Err(OperationError::new(
            method,
            format!("its argument `{name}` has the name of a member of `params`"),
        )),
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
