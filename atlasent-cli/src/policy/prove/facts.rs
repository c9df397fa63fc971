//! What is known of every request, as conditions in Cedar's syntax.
//!
//! Cedar's symbolic compiler considers every store of entities that fits the schema. An authority
//! has one: `entities.json`. These conditions state what it says of the entities that a request can
//! name, as far as the policies test it. A worked example, for a policy that tests
//! `principal in Group::"ops"` and `principal.level`:
//!
//! ```text
//! principal != Agent::""                                        no agent has an empty name
//! (principal in Group::"ops") == [Agent::"a"].contains(principal)
//! principal != Agent::"a" || (principal has "level" && principal["level"] == 3)
//! [Agent::"a", Agent::"b"].contains(principal) || !(principal has "level")
//! ```
//!
//! A fact that is left out makes the solver consider more requests, so that it proves less and
//! never too much. A counterexample that rests on such a request is found when the policies decide
//! it.

use std::collections::BTreeSet;

use atlasent_authority::policy::{AttributeType, RecordDescription};
use cedar_policy::{Entity, EntityTypeName, EntityUid, EvalResult, Policy};
use serde_json::Value;

use super::difference::{Outer, original};
use super::side::Side;

/// How many facts about attributes are stated of one part of a request. With more, the solver would
/// mostly read.
const MAX_FACTS: usize = 2_000;

/// A part of a request that is an entity.
struct Term {
    /// The expression in a policy.
    text: String,
    /// The condition under which the part is present, if it is optional.
    guard: Option<String>,
    entity_type: EntityTypeName,
}

/// Collects conditions, each of which holds for every request for an action. The policies are those
/// that the facts should matter to. `is_valid` tells whether a condition has a type.
pub(super) fn collect(
    side: &Side<'_>,
    action: &str,
    policies: &[&Policy],
    outer: Option<&Outer<'_>>,
    is_valid: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut facts = Facts::default();
    facts.push("principal != Agent::\"\"".to_owned(), None);
    let context = side.action(action).map(|action| action.context());
    if let Some(context) = context {
        facts.datetimes(context, "context", None);
    }
    let outer_policies: Vec<&Policy> = outer.iter().flat_map(|outer| &outer.policies).collect();
    let all: Vec<&Policy> = [policies, &outer_policies].concat();
    let literals: BTreeSet<EntityUid> = (all.iter())
        .flat_map(|policy| policy.entity_literals())
        .collect();
    let attributes = attributes(&all);
    for term in terms(context) {
        let known = known(side, &term);
        for group in &literals {
            // The members of a group of the outer set are in its entities.
            let own = outer.filter(|outer| outer.has_own_groups);
            let own = own.and_then(|outer| Some((&outer.side, original(group)?)));
            match &own {
                Some((side, original)) => facts.membership(side, &term, group, original),
                None => facts.membership(side, &term, group, group),
            }
        }
        if known.len() * attributes.len() <= MAX_FACTS {
            for attribute in &attributes {
                let is_required = is_required(&term.entity_type, attribute, &is_valid);
                facts.attribute(&term, &known, attribute, is_required);
            }
        }
    }
    let mut conditions = facts.conditions;
    conditions.retain(|condition| is_valid(condition));
    conditions
}

/// Whether the schema requires an attribute of the entities of a type: a policy may then read it
/// without a test.
pub(super) fn is_required(
    entity_type: &EntityTypeName,
    name: &str,
    is_valid: impl Fn(&str) -> bool,
) -> bool {
    let attribute = format!("{entity_type}::\"x\"[{}]", quoted(name));
    is_valid(&format!("{attribute} == {attribute}"))
}

#[derive(Default)]
struct Facts {
    conditions: Vec<String>,
}

impl Facts {
    fn push(&mut self, condition: String, guard: Option<&str>) {
        self.conditions.push(match guard {
            Some(guard) => format!("!({guard}) || ({condition})"),
            None => condition,
        });
    }

    /// States which entities are in a group that the policies name. The side knows the group by its
    /// original name.
    fn membership(
        &mut self,
        side: &Side<'_>,
        term: &Term,
        group: &EntityUid,
        original: &EntityUid,
    ) {
        let mut groups = (side.schema.ancestors(&term.entity_type))
            .into_iter()
            .flatten();
        if !groups.any(|name| name == group.type_name()) {
            return;
        }
        let members = known(side, term).into_iter().map(Entity::uid);
        let mut members: Vec<EntityUid> = members
            .filter(|uid| side.entities.is_ancestor_of(original, uid))
            .collect();
        // Each entity is in itself.
        if original.type_name() == &term.entity_type {
            members.push(original.clone());
        }
        let text = &term.text;
        let condition = match is_any_of(text, &members) {
            Some(is_member) => format!("({text} in {group}) == {is_member}"),
            None => format!("!({text} in {group})"),
        };
        self.push(condition, term.guard.as_deref());
    }

    /// States the values of an attribute.
    fn attribute(&mut self, term: &Term, known: &[&Entity], name: &str, is_required: bool) {
        let (text, guard) = (&term.text, term.guard.as_deref());
        let quoted = quoted(name);
        let uids: Vec<EntityUid> = known.iter().map(|entity| entity.uid()).collect();
        let is_known = is_any_of(text, &uids);
        let is_unset = format!("!({text} has {quoted})");
        match (is_known, is_required) {
            (Some(is_known), true) => self.push(is_known, guard),
            (Some(is_known), false) => self.push(format!("{is_known} || {is_unset}"), guard),
            (None, false) => self.push(is_unset, guard),
            // Stated, this would be wrong of every request, which proves anything.
            (None, true) => {}
        }
        for entity in known {
            let uid = entity.uid();
            let condition = match entity.attr(name) {
                None => format!("!({text} has {quoted})"),
                Some(Ok(value)) => {
                    let value = value_text(&value);
                    format!("({text} has {quoted} && {text}[{quoted}] == {value})")
                }
                Some(Err(_)) => continue,
            };
            self.push(format!("{text} != {uid} || {condition}"), guard);
        }
    }

    /// Limits datetimes to those that a text can state: the years 0 to 9999, and the largest offset
    /// from UTC.
    fn datetimes(&mut self, record: RecordDescription<'_>, path: &str, guard: Option<&str>) {
        for attribute in record.attributes() {
            let name = quoted(attribute.name());
            let text = format!("{path}[{name}]");
            let has = format!("{path} has {name}");
            let guard = match (attribute.is_required(), guard) {
                (true, guard) => guard.map(str::to_owned),
                (false, None) => Some(has),
                (false, Some(guard)) => Some(format!("{guard} && {has}")),
            };
            match attribute.attribute_type() {
                AttributeType::Datetime => self.push(
                    format!(
                        "{text} >= datetime(\"0000-01-01T00:00:00.000+2359\") && {text} <= datetime(\"9999-12-31T23:59:59.999-2359\")"
                    ),
                    guard.as_deref(),
                ),
                AttributeType::Record(record) => self.datetimes(record, &text, guard.as_deref()),
                _ => {}
            }
        }
    }
}

/// Returns the parts of a request that are entities. Those inside of records and sets are left out.
fn terms(context: Option<RecordDescription<'_>>) -> Vec<Term> {
    let fixed = [("principal", "Agent"), ("resource", "Resource")];
    let fixed = fixed.into_iter().filter_map(|(text, name)| {
        Some(Term {
            text: text.to_owned(),
            guard: None,
            entity_type: name.parse().ok()?,
        })
    });
    let attributes = context.into_iter().flat_map(RecordDescription::attributes);
    let in_context = attributes.filter_map(|attribute| {
        let AttributeType::Entity(entity) = attribute.attribute_type() else {
            return None;
        };
        let quoted = quoted(attribute.name());
        let guard = (!attribute.is_required()).then(|| format!("context has {quoted}"));
        Some(Term {
            text: format!("context[{quoted}]"),
            guard,
            entity_type: entity.name().parse().ok()?,
        })
    });
    fixed.chain(in_context).collect()
}

/// Returns the known entities that a part of a request can be.
fn known<'p>(side: &Side<'p>, term: &Term) -> Vec<&'p Entity> {
    let entities = side.data();
    entities
        .filter(|entity| entity.uid().type_name() == &term.entity_type)
        .collect()
}

/// Returns the names of all attributes that policies read or test.
pub(super) fn attributes(policies: &[&Policy]) -> BTreeSet<String> {
    fn collect(json: &Value, names: &mut BTreeSet<String>) {
        match json {
            Value::Object(members) => {
                if let Some(Value::String(name)) = members.get("attr") {
                    names.insert(name.clone());
                }
                members.values().for_each(|member| collect(member, names));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    for policy in policies {
        if let Ok(json) = policy.to_json() {
            collect(&json, &mut names);
        }
    }
    names
}

/// Returns the condition that an expression is one of these entities; `None` for no entities, since
/// the type of an empty set is unknown.
fn is_any_of(text: &str, uids: &[EntityUid]) -> Option<String> {
    let uids: Vec<String> = uids.iter().map(ToString::to_string).collect();
    (!uids.is_empty()).then(|| format!("[{}].contains({text})", uids.join(", ")))
}

/// Writes a value as an expression. One with an empty set has no type, and its fact is left out.
fn value_text(value: &EvalResult) -> String {
    match value {
        EvalResult::Bool(value) => value.to_string(),
        EvalResult::Long(value) => value.to_string(),
        EvalResult::String(value) => quoted(value),
        EvalResult::EntityUid(uid) => uid.to_string(),
        EvalResult::Set(values) => {
            let values: Vec<String> = values.iter().map(value_text).collect();
            format!("[{}]", values.join(", "))
        }
        EvalResult::Record(record) => {
            let pairs = record.iter();
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{}: {}", quoted(name), value_text(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        EvalResult::ExtensionValue(text) => text.clone(),
    }
}

/// Writes a string literal of Cedar, whose escapes are those of Rust.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
