//! The actions and entity types that policies, entities and code name, and which requests an action
//! has.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::Value;

use super::super::lint::parts;
use super::types::{Id, Kind, Types};

/// An entity or an action, by type and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Uid {
    pub(super) type_name: String,
    pub(super) id: String,
}

impl Uid {
    /// Parses `{"type": …, "id": …}`, or the same inside of `__entity`.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let value = value.get("__entity").unwrap_or(value);
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        Some(Self {
            type_name: text("type")?,
            id: text("id")?,
        })
    }

    pub(super) fn is_action(&self) -> bool {
        is_action_type(&self.type_name)
    }

    fn new(type_name: &str, id: &str) -> Self {
        Self {
            type_name: type_name.to_owned(),
            id: id.to_owned(),
        }
    }
}

impl From<&EntityUid> for Uid {
    fn from(uid: &EntityUid) -> Self {
        Self::new(&uid.type_name().to_string(), uid.id().unescaped())
    }
}

/// One kind of request: an action with the types of its principal and resource.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) action: Uid,
    /// The groups that the action is in.
    groups: BTreeSet<Uid>,
    pub(super) principal: String,
    pub(super) resource: String,
    pub(super) context: Id,
}

impl Environment {
    /// Returns whether the action is this one, or in this group.
    pub(super) fn is_in(&self, group: &Uid) -> bool {
        self.action == *group || self.groups.contains(group)
    }
}

/// An action and what it applies to.
#[derive(Debug, Default)]
pub(super) struct Action {
    pub(super) parents: BTreeSet<Uid>,
    pub(super) principals: BTreeSet<String>,
    pub(super) resources: BTreeSet<String>,
    pub(super) context: Id,
    /// Whether it only groups others: it has members, and neither code nor `action ==` names it.
    pub(super) is_group: bool,
}

/// The actions of the schema.
#[derive(Debug, Default)]
pub(super) struct Actions(pub(super) BTreeMap<Uid, Action>);

impl Actions {
    /// Collects the actions of policies, of entities and of code, and declares the entity types
    /// that they name.
    pub(super) fn collect(
        policies: &[(&Policy, &Value)],
        entities: &[Value],
        in_code: &BTreeSet<String>,
        types: &mut Types,
    ) -> Self {
        let mut actions: BTreeMap<Uid, Action> = BTreeMap::new();
        let mut named: BTreeSet<Uid> = in_code
            .iter()
            .map(|name| Uid::new("Action", name))
            .collect();
        for (policy, json) in policies {
            match policy.action_constraint() {
                ActionConstraint::Any => {}
                ActionConstraint::Eq(uid) => drop(named.insert(Uid::from(&uid))),
                ActionConstraint::In(uids) => {
                    actions.extend(uids.iter().map(|uid| (Uid::from(uid), Action::default())));
                }
            }
            collect_literals(json, &mut |uid| {
                if uid.is_action() {
                    actions.entry(uid).or_default();
                } else {
                    types.entity(&uid.type_name);
                }
            });
        }
        for uid in &named {
            actions.entry(uid.clone()).or_default();
        }
        let mut groups = BTreeSet::new();
        for entity in entities {
            let uids =
                std::iter::once(entity.get("uid").unwrap_or(&Value::Null)).chain(parents(entity));
            for uid in uids.filter_map(Uid::parse) {
                if uid.is_action() {
                    actions.entry(uid).or_default();
                } else {
                    types.entity(&uid.type_name);
                }
            }
            if let Some(action) = entity
                .get("uid")
                .and_then(Uid::parse)
                .and_then(|uid| actions.get_mut(&uid))
            {
                action.parents = parents(entity).filter_map(Uid::parse).collect();
                groups.extend(action.parents.iter().cloned());
            }
        }
        for (uid, action) in &mut actions {
            action.is_group = groups.contains(uid) && !named.contains(uid);
            action.context = types.record();
        }
        let mut actions = Self(actions);
        actions.apply(policies, types);
        actions
    }

    /// Sets what each action applies to: agents and resources, and the types that the scopes of its
    /// policies name.
    fn apply(&mut self, policies: &[(&Policy, &Value)], types: &mut Types) {
        for action in self.0.values_mut() {
            action.principals.insert("Agent".to_owned());
            action.resources.insert("Resource".to_owned());
        }
        types.entity("Agent");
        types.entity("Resource");
        for (policy, _) in policies {
            let scope = Scope::new(policy);
            let names: Vec<&String> = [&scope.principal, &scope.resource]
                .into_iter()
                .flatten()
                .collect();
            for name in names {
                types.entity(name);
            }
            let covered: Vec<Uid> = (self.0.keys().filter(|uid| self.covers(policy, uid)))
                .cloned()
                .collect();
            for uid in covered {
                if let Some(action) = self.0.get_mut(&uid) {
                    action.principals.extend(scope.principal.clone());
                    action.resources.extend(scope.resource.clone());
                }
            }
        }
    }

    /// Returns whether the scope of a policy covers an action.
    fn covers(&self, policy: &Policy, action: &Uid) -> bool {
        match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => Uid::from(&uid) == *action,
            ActionConstraint::In(uids) => {
                let groups = self.groups(action);
                let mut uids = uids.iter().map(Uid::from);
                uids.any(|uid| uid == *action || groups.contains(&uid))
            }
        }
    }

    /// Returns all groups that an action is in.
    fn groups(&self, action: &Uid) -> BTreeSet<Uid> {
        let mut groups = BTreeSet::new();
        let mut open = vec![action];
        while let Some(uid) = open.pop() {
            for parent in self
                .0
                .get(uid)
                .into_iter()
                .flat_map(|action| &action.parents)
            {
                if groups.insert(parent.clone()) {
                    open.push(parent);
                }
            }
        }
        groups
    }

    /// Returns the kinds of requests that the scope of a policy covers.
    pub(super) fn environments(&self, policy: &Policy) -> Vec<Environment> {
        let scope = Scope::new(policy);
        let allows =
            |only: &Option<String>, name: &String| only.as_ref().is_none_or(|only| only == name);
        let mut environments = Vec::new();
        for (uid, action) in &self.0 {
            if action.is_group || !self.covers(policy, uid) {
                continue;
            }
            for principal in action
                .principals
                .iter()
                .filter(|name| allows(&scope.principal, name))
            {
                for resource in action
                    .resources
                    .iter()
                    .filter(|name| allows(&scope.resource, name))
                {
                    environments.push(Environment {
                        action: uid.clone(),
                        groups: self.groups(uid),
                        principal: principal.clone(),
                        resource: resource.clone(),
                        context: action.context,
                    });
                }
            }
        }
        environments
    }
}

/// The entity types that the scope of a policy asks for.
struct Scope {
    principal: Option<String>,
    resource: Option<String>,
}

impl Scope {
    fn new(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Eq(uid) => Some(uid.type_name().to_string()),
            PrincipalConstraint::Is(name) | PrincipalConstraint::IsIn(name, _) => {
                Some(name.to_string())
            }
            PrincipalConstraint::Any | PrincipalConstraint::In(_) => None,
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) => Some(uid.type_name().to_string()),
            ResourceConstraint::Is(name) | ResourceConstraint::IsIn(name, _) => {
                Some(name.to_string())
            }
            ResourceConstraint::Any | ResourceConstraint::In(_) => None,
        };
        Self {
            principal,
            resource,
        }
    }
}

/// Returns the groups that the scope of a policy asks the principal and the resource to be in, each
/// with the type of the member.
pub(super) fn scope_groups(policy: &Policy, environment: &Environment) -> Vec<(String, String)> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::In(group) | PrincipalConstraint::IsIn(_, group) => Some(group),
        _ => None,
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::In(group) | ResourceConstraint::IsIn(_, group) => Some(group),
        _ => None,
    };
    let principal = principal.map(|group| (environment.principal.clone(), group));
    let resource = resource.map(|group| (environment.resource.clone(), group));
    let groups = principal.into_iter().chain(resource);
    groups
        .map(|(member, group)| (member, group.type_name().to_string()))
        .collect()
}

/// Returns the parents of an entity in Cedar's JSON format.
pub(super) fn parents(entity: &Value) -> impl Iterator<Item = &Value> {
    let parents = entity.get("parents").and_then(Value::as_array);
    parents.into_iter().flatten()
}

pub(super) fn is_action_type(name: &str) -> bool {
    name == "Action" || name.ends_with("::Action")
}

/// Returns the type of a value in Cedar's JSON format.
pub(super) fn type_of_value(value: &Value, types: &mut Types) -> Option<Id> {
    let kind = match value {
        Value::Bool(_) => Kind::Bool,
        Value::Number(_) => Kind::Long,
        Value::String(_) => Kind::Text,
        Value::Array(values) => {
            let element = types.unknown();
            for value in values {
                let other = type_of_value(value, types)?;
                types.unify(element, other).ok()?;
            }
            Kind::Set(element)
        }
        Value::Object(members) => {
            if value.get("__entity").is_some() {
                let name = Uid::parse(value)?.type_name;
                types.entity(&name);
                Kind::Entity(name)
            } else if let Some(call) = members.get("__extn") {
                Kind::Extension(match call.get("fn")?.as_str()? {
                    "decimal" => "decimal",
                    "ip" => "ipaddr",
                    "datetime" | "offset" => "datetime",
                    "duration" => "duration",
                    _ => return None,
                })
            } else {
                let record = types.record();
                for (name, value) in members {
                    let id = type_of_value(value, types)?;
                    let attribute = types
                        .attribute(record, name, super::types::Use::GuardedRead)
                        .ok()?;
                    types.unify(attribute, id).ok()?;
                }
                return Some(record);
            }
        }
        Value::Null => Kind::Unknown,
    };
    Some(types.add(kind, None))
}

fn collect_literals(json: &Value, found: &mut impl FnMut(Uid)) {
    if let Some(uid) = json.get("__entity").and_then(Uid::parse) {
        found(uid);
    }
    // Scopes have entities without `__entity`.
    if let Some(uid) = json.get("entity").and_then(Uid::parse) {
        found(uid);
    }
    for part in parts(json) {
        collect_literals(part, found);
    }
}
