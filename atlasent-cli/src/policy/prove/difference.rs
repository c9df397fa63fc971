//! The outer set of a comparison, brought under the schema and the entities of the inner one.
//!
//! A question is asked over one schema and one store of entities: those of the inner set. Where the
//! outer set has other ones, its policies are changed to decide as they do under their own:
//!
//! - An attribute of the context that the outer schema does not declare denies the request, so a
//!   `forbid` is added. The same holds for one that only the outer schema requires.
//! - Groups with other members get a name of their own: `principal in Group::"ops"` becomes
//!   `principal in Group::"ops\0outer"`, whose members are those of the outer entities.
//!
//! Other differences are an error: the question stays undecided.

use std::collections::{BTreeMap, BTreeSet};

use atlasent_authority::policy::{AttributeType, RecordDescription};
use cedar_policy::{Entity, EntityId, EntityUid, Policy, PolicyId};
use serde_json::{Value, json};

use super::side::Side;

/// The suffix of the names of groups of the outer set. Ids that people write hold no NUL.
const OUTER: &str = "\0outer";

/// The outer set of a question about one action.
pub(super) struct Outer<'p> {
    pub(super) side: Side<'p>,
    pub(super) policies: Vec<Policy>,
    /// Whether groups have names of their own.
    pub(super) has_own_groups: bool,
}

impl<'p> Outer<'p> {
    /// Prepares the outer set.
    ///
    /// # Errors
    ///
    /// The reason why the two sets cannot be compared.
    pub(super) fn new(
        inner: &Side<'_>,
        outer: &Side<'p>,
        action: &str,
        uid: &EntityUid,
    ) -> Result<Self, String> {
        let mut this = Self {
            side: *outer,
            policies: Vec::new(),
            has_own_groups: false,
        };
        // Without a declaration, the outer set denies every request for the action.
        let (Some(inner_action), Some(outer_action)) = (inner.action(action), outer.action(action))
        else {
            return Ok(this);
        };
        if outer.environment(action).is_none() {
            return Ok(this);
        }
        if !inner.has_same_hierarchy(outer, uid) {
            return Err(format!(
                "{} and {} declare different entity types or action groups: bring those to the same first",
                inner.name, outer.name
            ));
        }
        let relevant = outer.relevant(uid);
        if have_same_entities(inner, outer)? {
            this.policies = relevant.into_iter().cloned().collect();
        } else {
            this.has_own_groups = true;
            // `in` of anything but a name reads the store of both sets at once.
            for policy in inner.relevant(uid) {
                with_own_groups(policy)?;
            }
            let renamed = relevant.into_iter().map(with_own_groups);
            this.policies = renamed.collect::<Result<_, _>>()?;
        }
        let denied = denied_contexts(inner_action.context(), outer_action.context())?;
        for (index, condition) in denied.iter().enumerate() {
            let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
            let id = PolicyId::new(format!("\0context{index}"));
            let forbid = Policy::parse(Some(id), &text).map_err(|error| error.to_string())?;
            this.policies.push(forbid);
        }
        Ok(this)
    }
}

/// Returns the original name of a group of the outer set.
pub(super) fn original(group: &EntityUid) -> Option<EntityUid> {
    let id = group.id().unescaped().strip_suffix(OUTER)?;
    let name = group.type_name().clone();
    Some(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

/// Returns the conditions on which the outer schema rejects a context that fits the inner one.
fn denied_contexts(
    inner: RecordDescription<'_>,
    outer: RecordDescription<'_>,
) -> Result<Vec<String>, String> {
    let outer: BTreeMap<&str, _> = (outer.attributes())
        .map(|attribute| (attribute.name(), attribute))
        .collect();
    let mut denied = Vec::new();
    let mut declared = BTreeSet::new();
    for attribute in inner.attributes() {
        let name = attribute.name();
        declared.insert(name);
        let has = format!("context has \"{}\"", name.escape_debug());
        match outer.get(name) {
            None => denied.push(has),
            Some(other) => {
                if !is_same_type(&attribute.attribute_type(), &other.attribute_type()) {
                    return Err(format!(
                        "the schemas declare different types for `context.{name}`"
                    ));
                }
                if other.is_required() && !attribute.is_required() {
                    denied.push(format!("!({has})"));
                }
            }
        }
    }
    let mut missing = outer.values();
    if missing.any(|attribute| attribute.is_required() && !declared.contains(attribute.name())) {
        denied.push("true".to_owned());
    }
    Ok(denied)
}

fn is_same_type(one: &AttributeType<'_>, other: &AttributeType<'_>) -> bool {
    match (one, other) {
        (AttributeType::Set(one), AttributeType::Set(other)) => {
            is_same_type(&one.element(), &other.element())
        }
        (AttributeType::Record(one), AttributeType::Record(other)) => {
            let (one, other): (Vec<_>, Vec<_>) =
                (one.attributes().collect(), other.attributes().collect());
            one.len() == other.len()
                && one.iter().zip(&other).all(|(one, other)| {
                    one.name() == other.name()
                        && one.is_required() == other.is_required()
                        && is_same_type(&one.attribute_type(), &other.attribute_type())
                })
        }
        (AttributeType::Entity(one), AttributeType::Entity(other)) => one.name() == other.name(),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// Whether both sides have the same entities. Their groups may differ, and nothing else.
fn have_same_entities(inner: &Side<'_>, outer: &Side<'_>) -> Result<bool, String> {
    let by_uid = |side: &Side<'_>| -> BTreeMap<EntityUid, Value> {
        let entities = side.data();
        entities
            .map(|entity| (entity.uid(), described(entity)))
            .collect()
    };
    let (inner_entities, outer_entities) = (by_uid(inner), by_uid(outer));
    if inner_entities == outer_entities {
        return Ok(true);
    }
    // An entity that is absent has no attributes and no tags.
    let absent = json!({ "attrs": {}, "tags": {} });
    let values = |entities: &BTreeMap<EntityUid, Value>, uid: &EntityUid| {
        let mut entity = entities.get(uid).cloned().unwrap_or_default();
        ["attrs", "tags"].map(|name| match entity.get_mut(name).map(Value::take) {
            Some(values) if !values.is_null() => values,
            _ => absent.get(name).cloned().unwrap_or_default(),
        })
    };
    for uid in inner_entities.keys().chain(outer_entities.keys()) {
        if values(&inner_entities, uid) != values(&outer_entities, uid) {
            return Err(format!(
                "the entity `{uid}` has other attributes in {} than in {}: bring those to the same first",
                inner.name, outer.name
            ));
        }
    }
    Ok(false)
}

fn described(entity: &Entity) -> Value {
    let mut json = entity.to_json_value().unwrap_or_default();
    if let Some(Value::Array(parents)) = json.get_mut("parents") {
        parents.sort_by_key(Value::to_string);
    }
    json
}

/// Renames the groups that a policy tests with `in`.
fn with_own_groups(policy: &Policy) -> Result<Policy, String> {
    let mut json = policy.to_json().map_err(|error| error.to_string())?;
    for part in ["principal", "resource"] {
        // `principal in …` and `principal is … in …`
        let Some(constraint) = json.get_mut(part) else {
            continue;
        };
        let is_in = constraint.get("op") == Some(&json!("in"));
        let group = match is_in {
            true => constraint.get_mut("entity"),
            false => constraint
                .get_mut("in")
                .and_then(|within| within.get_mut("entity")),
        };
        if let Some(group) = group {
            rename(group);
        }
    }
    if let Some(conditions) = json.get_mut("conditions") {
        rename_tested(conditions).map_err(|()| {
            format!(
                "the entities differ, and policy `{}` tests `in` with something else than named entities",
                policy.id()
            )
        })?;
    }
    Policy::from_json(Some(policy.id().clone()), json).map_err(|error| error.to_string())
}

/// Renames the right sides of `in` and `is … in`, which have to be named.
fn rename_tested(json: &mut Value) -> Result<(), ()> {
    match json {
        Value::Object(members) => {
            for (name, member) in members {
                let tested = match name.as_str() {
                    "in" => member.get_mut("right"),
                    "is" => member.get_mut("in"),
                    _ => None,
                };
                if let Some(tested) = tested {
                    rename_named(tested)?;
                }
                rename_tested(member)?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(rename_tested),
        _ => Ok(()),
    }
}

/// Renames one named entity, or each of a set.
fn rename_named(json: &mut Value) -> Result<(), ()> {
    if let Some(Value::Array(items)) = json.get_mut("Set") {
        return items.iter_mut().try_for_each(rename_named);
    }
    let entity = json
        .get_mut("Value")
        .and_then(|value| value.get_mut("__entity"));
    entity.map(rename).ok_or(())
}

fn rename(entity: &mut Value) {
    // The hierarchy of actions is that of the schema, and the same on both sides.
    let is_action = |name: &str| name == "Action" || name.ends_with("::Action");
    if entity
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(is_action)
    {
        return;
    }
    if let Some(Value::String(id)) = entity.get_mut("id") {
        id.push_str(OUTER);
    }
}
