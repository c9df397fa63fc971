//! One policy set of a proof, as Cedar sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use atlasent_authority::Policies;
use atlasent_authority::policy::ActionDescription;
use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityUid, Policy, PolicySet, RequestEnv, Schema,
};
use serde_json::{Map, Value};

use crate::exit::Failure;
use crate::policy::load;

/// The name of the schema's file in a directory of policies.
pub(super) const SCHEMA_FILE: &str = "schema.cedarschema";

/// A policy set with a schema.
pub(super) struct Loaded {
    pub(super) policies: Policies,
    /// The text of the schema.
    pub(super) schema: String,
}

impl Loaded {
    /// Loads the policies of a directory. One without a schema is misuse.
    pub(super) fn from_dir(directory: &Path) -> Result<Self, Failure> {
        let policies = load(directory)?;
        let shown = directory.display();
        if policies.schema_digest().is_none() {
            return Err(Failure::misuse(format!(
                "`{shown}` has no `{SCHEMA_FILE}`, and a proof needs the types of all requests: `atlasent policy schema` writes one"
            )));
        }
        let schema = fs::read_to_string(directory.join(SCHEMA_FILE)).map_err(|error| {
            Failure::misuse(format!("cannot read the schema in `{shown}`: {error}"))
        })?;
        Ok(Self { policies, schema })
    }

    /// Returns the set under a name. `None` without a schema.
    pub(super) fn side(&self, name: &'static str) -> Option<Side<'_>> {
        let cedar = self.policies.cedar();
        Some(Side {
            name,
            policies: &self.policies,
            schema: cedar.schema?,
            entities: cedar.entities,
            set: cedar.policies,
            schema_text: &self.schema,
        })
    }
}

/// A policy set under the name that the report gives it.
#[derive(Clone, Copy)]
pub(super) struct Side<'p> {
    /// The name of the set in reports, such as `OLD`.
    pub(super) name: &'static str,
    pub(super) policies: &'p Policies,
    pub(super) schema: &'p Schema,
    pub(super) entities: &'p Entities,
    set: &'p PolicySet,
    schema_text: &'p str,
}

impl<'p> Side<'p> {
    /// Returns the description of an action that requests can name.
    pub(super) fn action(&self, name: &str) -> Option<ActionDescription<'p>> {
        self.policies.actions().find(|action| action.name() == name)
    }

    /// Returns the types of the requests for an action. `None` if no request for it conforms to the
    /// schema, since requests are by an `Agent` on a `Resource`.
    pub(super) fn environment(&self, action: &str) -> Option<RequestEnv> {
        self.schema.request_envs().find(|environment| {
            let uid = environment.action();
            uid.id().unescaped() == action
                && uid.type_name().to_string() == "Action"
                && environment.principal().to_string() == "Agent"
                && environment.resource().to_string() == "Resource"
        })
    }

    /// Returns the actions that requests can name, with the types of their requests.
    pub(super) fn environments(&self) -> impl Iterator<Item = (&'p str, RequestEnv)> {
        let side = *self;
        let actions = side.policies.actions().map(ActionDescription::name);
        actions.filter_map(move |name| Some((name, side.environment(name)?)))
    }

    /// Returns the policies whose scope can match an action, sorted by id. All others are
    /// unsatisfied and cannot fail.
    pub(super) fn relevant(&self, action: &EntityUid) -> Vec<&'p Policy> {
        let names =
            |named: &EntityUid| named == action || self.entities.is_ancestor_of(named, action);
        let mut relevant: Vec<&Policy> = (self.set.policies())
            .filter(|policy| match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(named) => named == *action,
                ActionConstraint::In(all) => all.iter().any(names),
            })
            .collect();
        relevant.sort_unstable_by_key(|policy| policy.id());
        relevant
    }

    /// Returns the `@budget` of each policy that has one, by the policy's id.
    pub(super) fn budgets(&self) -> BTreeMap<&'p str, &'p str> {
        let with_budgets = self.set.policies().filter_map(|policy| {
            let id = policy.annotation("id");
            let id = id.unwrap_or_else(|| policy.id().as_ref());
            Some((id, policy.annotation("budget")?))
        });
        with_budgets.collect()
    }

    /// Whether two schemas declare the same entity types, and the same groups of an action.
    pub(super) fn has_same_hierarchy(&self, other: &Side<'_>, action: &EntityUid) -> bool {
        let groups = |side: &Side<'_>| -> Vec<EntityUid> {
            let ancestors = side.entities.ancestors(action).into_iter().flatten();
            let mut groups: Vec<EntityUid> = ancestors.cloned().collect();
            groups.sort_unstable();
            groups
        };
        let types = entity_types(self.schema_text);
        types.is_some() && types == entity_types(other.schema_text) && groups(self) == groups(other)
    }

    /// Returns the entities of `entities.json`: all but the actions of the schema.
    pub(super) fn data(&self) -> impl Iterator<Item = &'p Entity> {
        let all = self.entities.iter();
        all.filter(|entity| entity.uid().type_name().basename() != "Action")
    }
}

/// Returns what a schema says of entities: the entity types, with the common types if they refer to
/// any. `None` for a schema that has no JSON form.
fn entity_types(schema: &str) -> Option<Vec<Value>> {
    let (mut json, _) = cedar_policy::schema_str_to_json_with_resolved_types(schema).ok()?;
    let namespaces = json.as_object_mut()?;
    let described = namespaces.iter_mut().map(|(name, namespace)| {
        let mut part = |key: &str| namespace.get_mut(key).map(Value::take).unwrap_or_default();
        let (types, common) = (part("entityTypes"), part("commonTypes"));
        let names: Vec<&str> = (common.as_object())
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        let common = match refers_to(&types, &names) {
            true => common.clone(),
            false => Value::Null,
        };
        Value::Array(vec![name.as_str().into(), types, common])
    });
    Some(described.collect())
}

/// Whether any text in a JSON value is one of these names, with or without a namespace.
fn refers_to(json: &Value, names: &[&str]) -> bool {
    match json {
        Value::String(text) => {
            let base = text.rsplit("::").next().unwrap_or(text);
            names.contains(&base)
        }
        Value::Array(items) => items.iter().any(|item| refers_to(item, names)),
        Value::Object(members) => members.values().any(|member| refers_to(member, names)),
        _ => false,
    }
}
