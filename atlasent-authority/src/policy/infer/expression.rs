//! What the conditions of a policy require of the types of their values.
//!
//! It works on Cedar's JSON form of a policy, for one action, one type of principal and one type of
//! resource, as Cedar's validator does. Like the validator, it leaves out what such a request never
//! evaluates, and regards an attribute as guarded only by a `has` that is true before the read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::shape::{Environment, Uid};
use super::types::{Id, Kind, Mismatch, Types, Use};

/// The `has` tests that hold: the tested expression and the attribute.
type Guards = BTreeSet<(String, String)>;

/// A walk through the conditions of one policy, for one kind of request.
pub(super) struct Walk<'a> {
    pub(super) types: &'a mut Types,
    pub(super) environment: &'a Environment,
    /// The position of the policy.
    pub(super) policy: usize,
    /// The operands of each `in`.
    pub(super) memberships: &'a mut Vec<(Id, Id)>,
    /// The uses that fit no type, each with the expression that it is about.
    pub(super) mismatches: &'a mut Vec<(usize, Value, Mismatch)>,
}

/// What is known of an expression.
struct Outcome {
    id: Id,
    /// The value, if it is the same for all such requests.
    constant: Option<bool>,
    /// What holds if the expression is true.
    guards: Guards,
}

impl Walk<'_> {
    /// Walks through all conditions of a policy.
    pub(super) fn policy(&mut self, policy: &Value) {
        let mut guards = Guards::new();
        let conditions = policy.get("conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            let body = condition.get("body").unwrap_or(&Value::Null);
            let outcome = self.needs(body, &Kind::Bool, &guards);
            let is_unless = condition.get("kind").and_then(Value::as_str) == Some("unless");
            if outcome.constant == Some(is_unless) {
                return;
            }
            if !is_unless {
                guards.extend(outcome.guards);
            }
        }
    }

    /// Walks through an expression that must have a type.
    fn needs(&mut self, expression: &Value, kind: &Kind, guards: &Guards) -> Outcome {
        let outcome = self.expression(expression, guards);
        let needed = self.of(kind.clone());
        self.same(outcome.id, needed, expression);
        outcome
    }

    fn expression(&mut self, expression: &Value, guards: &Guards) -> Outcome {
        let members = expression.as_object();
        let Some((operator, body)) = members.and_then(|members| members.iter().next()) else {
            return self.plain(Kind::Unknown);
        };
        let part = |name: &str| body.get(name).unwrap_or(&Value::Null);
        let (left, right) = (part("left"), part("right"));
        match operator.as_str() {
            "Value" => self.literal(body),
            "Var" => self.variable(body.as_str().unwrap_or_default()),
            "!" => {
                let argument = self.needs(part("arg"), &Kind::Bool, guards);
                let constant = argument.constant.map(|value| !value);
                self.bool(constant, Guards::new())
            }
            "&&" => self.and(left, right, guards),
            "||" => self.or(left, right, guards),
            "if-then-else" => self.branch(body, guards),
            "==" | "!=" => self.equality(left, right, operator == "==", guards),
            "<" | "<=" | ">" | ">=" => {
                let one = self.needs(left, &Kind::Ordered, guards);
                let other = self.expression(right, guards);
                self.same(one.id, other.id, either(left, right));
                self.plain(Kind::Bool)
            }
            "+" | "-" | "*" => {
                self.needs(left, &Kind::Long, guards);
                self.needs(right, &Kind::Long, guards);
                self.plain(Kind::Long)
            }
            "neg" => {
                self.needs(part("arg"), &Kind::Long, guards);
                self.plain(Kind::Long)
            }
            "in" => self.membership(left, right, guards),
            "is" => self.is(body, guards),
            "contains" => {
                let element = self.expression(right, guards).id;
                self.needs(left, &Kind::Set(element), guards);
                self.plain(Kind::Bool)
            }
            "containsAll" | "containsAny" => {
                let element = self.types.unknown();
                self.needs(left, &Kind::Set(element), guards);
                self.needs(right, &Kind::Set(element), guards);
                self.plain(Kind::Bool)
            }
            "isEmpty" => {
                let element = self.types.unknown();
                self.needs(part("arg"), &Kind::Set(element), guards);
                self.plain(Kind::Bool)
            }
            "like" => {
                self.needs(left, &Kind::Text, guards);
                self.plain(Kind::Bool)
            }
            "has" => self.has(left, part("attr"), guards),
            "." => self.read(left, part("attr").as_str().unwrap_or_default(), guards),
            "hasTag" | "getTag" => self.tag(left, right, operator == "getTag", guards),
            "Set" => {
                let element = self.types.unknown();
                for value in body.as_array().into_iter().flatten() {
                    let outcome = self.expression(value, guards);
                    self.same(element, outcome.id, value);
                }
                self.plain(Kind::Set(element))
            }
            "Record" => {
                let record = self.types.record();
                for (name, value) in body.as_object().into_iter().flatten() {
                    let outcome = self.expression(value, guards);
                    if let Ok(attribute) = self.types.attribute(record, name, Use::Read) {
                        self.same(attribute, outcome.id, value);
                    }
                }
                self.known(record)
            }
            function => self.call(function, body, guards),
        }
    }

    fn literal(&mut self, value: &Value) -> Outcome {
        match value {
            Value::Bool(value) => self.bool(Some(*value), Guards::new()),
            Value::Number(_) => self.plain(Kind::Long),
            Value::String(_) => self.plain(Kind::Text),
            Value::Object(_) => match Uid::parse(value) {
                Some(uid) => self.plain(Kind::Entity(uid.type_name)),
                None => self.plain(Kind::Unknown),
            },
            Value::Null | Value::Array(_) => self.plain(Kind::Unknown),
        }
    }

    fn variable(&mut self, name: &str) -> Outcome {
        let environment = self.environment;
        match name {
            "principal" => self.plain(Kind::Entity(environment.principal.clone())),
            "resource" => self.plain(Kind::Entity(environment.resource.clone())),
            "action" => self.plain(Kind::Entity(environment.action.type_name.clone())),
            _ => self.known(environment.context),
        }
    }

    fn and(&mut self, left: &Value, right: &Value, guards: &Guards) -> Outcome {
        let one = self.needs(left, &Kind::Bool, guards);
        if one.constant == Some(false) {
            return one;
        }
        let inner = guards.union(&one.guards).cloned().collect();
        let other = self.needs(right, &Kind::Bool, &inner);
        let constant = one.constant.and(other.constant);
        let guards = one.guards.union(&other.guards).cloned().collect();
        self.bool(constant, guards)
    }

    fn or(&mut self, left: &Value, right: &Value, guards: &Guards) -> Outcome {
        let one = self.needs(left, &Kind::Bool, guards);
        if one.constant == Some(true) {
            return one;
        }
        let other = self.needs(right, &Kind::Bool, guards);
        if one.constant == Some(false) {
            return other;
        }
        let guards = one.guards.intersection(&other.guards).cloned().collect();
        self.bool(None, guards)
    }

    fn branch(&mut self, body: &Value, guards: &Guards) -> Outcome {
        let part = |name: &str| body.get(name).unwrap_or(&Value::Null);
        let test = self.needs(part("if"), &Kind::Bool, guards);
        let inner = guards.union(&test.guards).cloned().collect();
        match test.constant {
            Some(true) => self.expression(part("then"), &inner),
            Some(false) => self.expression(part("else"), guards),
            None => {
                let then = self.expression(part("then"), &inner);
                let other = self.expression(part("else"), guards);
                self.same(then.id, other.id, part("then"));
                let if_then: Guards = test.guards.union(&then.guards).cloned().collect();
                Outcome {
                    id: then.id,
                    constant: None,
                    guards: if_then.intersection(&other.guards).cloned().collect(),
                }
            }
        }
    }

    fn equality(&mut self, left: &Value, right: &Value, is_eq: bool, guards: &Guards) -> Outcome {
        let one = self.expression(left, guards);
        let other = self.expression(right, guards);
        let kinds = (self.types.kind(one.id), self.types.kind(other.id));
        if let (Kind::Entity(one), Kind::Entity(other)) = kinds {
            // Entities of two types are never equal, which the validator knows.
            let literal = |value: &Value| value.get("Value").and_then(Uid::parse);
            let is_action = |value: &Value| value.get("Var").is_some_and(|name| name == "action");
            let named = match (is_action(left), is_action(right)) {
                (true, _) => literal(right),
                (_, true) => literal(left),
                _ => None,
            };
            let constant = match named {
                _ if one != other => Some(false),
                Some(uid) => Some(uid == self.environment.action),
                None => None,
            };
            return self.bool(constant.map(|value| value == is_eq), Guards::new());
        }
        self.same(one.id, other.id, either(left, right));
        self.plain(Kind::Bool)
    }

    fn membership(&mut self, left: &Value, right: &Value, guards: &Guards) -> Outcome {
        if left.get("Var").is_some_and(|name| name == "action") {
            let listed = right.get("Set").and_then(Value::as_array);
            let groups = listed.into_iter().flatten().chain([right]);
            let mut groups = groups.filter_map(|value| Uid::parse(value.get("Value")?));
            let is_in = groups.any(|group| self.environment.is_in(&group));
            return self.bool(Some(is_in), Guards::new());
        }
        let one = self.expression(left, guards).id;
        let other = self.expression(right, guards).id;
        self.memberships.push((one, other));
        self.plain(Kind::Bool)
    }

    fn is(&mut self, body: &Value, guards: &Guards) -> Outcome {
        let left = body.get("left").unwrap_or(&Value::Null);
        let name = body.get("entity_type").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        self.types.entity(&name);
        let one = self.expression(left, guards);
        let constant = match self.types.kind(one.id) {
            Kind::Entity(known) => Some(known == name),
            _ => None,
        };
        if constant.is_none() {
            let needed = self.of(Kind::Entity(name));
            self.same(one.id, needed, left);
        }
        match body.get("in") {
            Some(group) if constant != Some(false) => {
                let group = self.expression(group, guards).id;
                self.memberships.push((one.id, group));
                self.plain(Kind::Bool)
            }
            // Only the type of a variable is certain; an attribute may be of another one.
            _ => self.bool(constant, Guards::new()),
        }
    }

    fn has(&mut self, left: &Value, attribute: &Value, guards: &Guards) -> Outcome {
        let listed = attribute.as_array().into_iter().flatten();
        let names = listed.chain([attribute]).filter_map(Value::as_str);
        let mut of = self.expression(left, guards).id;
        let mut expression = left.clone();
        let mut proven = Guards::new();
        for name in names {
            of = self.attribute(of, name, Use::Test, &expression);
            proven.insert((expression.to_string(), name.to_owned()));
            expression = serde_json::json!({ ".": { "left": expression, "attr": name } });
        }
        self.bool(None, proven)
    }

    fn read(&mut self, left: &Value, name: &str, guards: &Guards) -> Outcome {
        let of = self.expression(left, guards).id;
        let used = match guards.contains(&(left.to_string(), name.to_owned())) {
            true => Use::GuardedRead,
            false => Use::Read,
        };
        let id = self.attribute(of, name, used, left);
        self.known(id)
    }

    fn tag(&mut self, left: &Value, name: &Value, is_read: bool, guards: &Guards) -> Outcome {
        let of = self.expression(left, guards).id;
        self.needs(name, &Kind::Text, guards);
        let tags = match self.types.kind(of) {
            Kind::Entity(entity) => self.types.tags(&entity),
            _ => self.types.unknown(),
        };
        if is_read {
            self.known(tags)
        } else {
            self.plain(Kind::Bool)
        }
    }

    fn call(&mut self, function: &str, arguments: &Value, guards: &Guards) -> Outcome {
        let (needed, result) = signature(function);
        let arguments = arguments.as_array().into_iter().flatten();
        for (argument, kind) in arguments.zip(needed) {
            self.needs(argument, &kind, guards);
        }
        self.plain(result)
    }

    fn attribute(&mut self, of: Id, name: &str, used: Use, expression: &Value) -> Id {
        match self.types.attribute(of, name, used) {
            Ok(id) => id,
            Err(mismatch) => {
                let found = (self.policy, expression.clone(), mismatch);
                self.mismatches.push(found);
                self.types.unknown()
            }
        }
    }

    fn same(&mut self, one: Id, other: Id, expression: &Value) {
        if let Err(mismatch) = self.types.unify(one, other) {
            let found = (self.policy, expression.clone(), mismatch);
            self.mismatches.push(found);
        }
    }

    fn of(&mut self, kind: Kind) -> Id {
        if let Kind::Entity(name) = &kind {
            self.types.entity(name);
        }
        self.types.add(kind, Some(self.policy))
    }

    fn known(&mut self, id: Id) -> Outcome {
        Outcome {
            id,
            constant: None,
            guards: Guards::new(),
        }
    }

    fn plain(&mut self, kind: Kind) -> Outcome {
        let id = match kind {
            Kind::Unknown => self.types.unknown(),
            kind => self.of(kind),
        };
        self.known(id)
    }

    fn bool(&mut self, constant: Option<bool>, guards: Guards) -> Outcome {
        let id = self.of(Kind::Bool);
        Outcome {
            id,
            constant,
            guards,
        }
    }
}

/// Returns the operand that is better known by name: the one that is no literal.
fn either<'v>(left: &'v Value, right: &'v Value) -> &'v Value {
    match left.get("Value") {
        Some(_) => right,
        None => left,
    }
}

/// Returns the types of an extension function
/// (<https://docs.cedarpolicy.com/policies/syntax-operators.html>).
fn signature(function: &str) -> (Vec<Kind>, Kind) {
    let decimal = || Kind::Extension("decimal");
    let ip = || Kind::Extension("ipaddr");
    let datetime = || Kind::Extension("datetime");
    let duration = || Kind::Extension("duration");
    match function {
        "decimal" => (vec![Kind::Text], decimal()),
        "ip" => (vec![Kind::Text], ip()),
        "datetime" => (vec![Kind::Text], datetime()),
        "duration" => (vec![Kind::Text], duration()),
        "lessThan" | "lessThanOrEqual" | "greaterThan" | "greaterThanOrEqual" => {
            (vec![decimal(), decimal()], Kind::Bool)
        }
        "isIpv4" | "isIpv6" | "isLoopback" | "isMulticast" => (vec![ip()], Kind::Bool),
        "isInRange" => (vec![ip(), ip()], Kind::Bool),
        "offset" => (vec![datetime(), duration()], datetime()),
        "durationSince" => (vec![datetime(), datetime()], duration()),
        "toDate" => (vec![datetime()], datetime()),
        "toTime" => (vec![datetime()], duration()),
        "toMilliseconds" | "toSeconds" | "toMinutes" | "toHours" | "toDays" => {
            (vec![duration()], Kind::Long)
        }
        _ => (Vec::new(), Kind::Unknown),
    }
}
