//! Inferring a schema from policies, entities and the actions of a program.

mod expression;
mod shape;
mod types;
mod write;

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::depth::on_large_stack;
use super::lint::{Subject, path};
use super::{PoliciesBuilder, PolicyError, PolicyProblem};
use expression::Walk;
use shape::{Actions, Uid, parents, scope_groups, type_of_value};
use types::{Id, Kind, Mismatch, Types, Use};

/// A schema that was inferred from policies; from [`PoliciesBuilder::infer_schema`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InferredSchema {
    /// The schema, in Cedar's own syntax. The comment `fill in` marks each type that no policy
    /// shows.
    pub text: String,
    /// Why no schema fits the policies and entities, or why this one does not. Empty for a schema
    /// with which the set loads.
    pub problems: Vec<PolicyProblem>,
}

impl PoliciesBuilder {
    /// Infers a schema: the actions, the types of entities, and the attributes that policies use,
    /// with the types that the uses require. A schema that the builder already has is ignored.
    ///
    /// An attribute is optional if policies read it only behind a `has`. `actions` names further
    /// actions, such as those of `atlasent::sites()`.
    ///
    /// The policies show only what they read. With a schema, a request with any other key in its
    /// context is denied: add the keys that the code sends.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let builder = Policies::builder().source("deploy.cedar", r#"
    ///     permit (principal in Group::"ops", action == Action::"deploy", resource)
    ///     when { context.replicas < 5 && context has note && context.note like "ok*" };
    /// "#);
    /// let schema = builder.infer_schema([])?;
    /// assert!(schema.problems.is_empty());
    /// assert!(schema.text.contains("entity Agent in [Group];"));
    /// assert!(schema.text.contains("note?: String,\n    replicas: Long,\n"));
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PolicyError`] as [`build`](Self::build) returns it without a schema.
    pub fn infer_schema(
        mut self,
        actions: impl IntoIterator<Item = String>,
    ) -> Result<InferredSchema, PolicyError> {
        self.schemas.clear();
        let in_code: BTreeSet<String> = actions.into_iter().collect();
        let entities = self.entities.first().map(|source| source.text.clone());
        let entities: Vec<Value> = entities
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let policies = self.clone().build()?;
        let mut schema = on_large_stack(|| {
            let subjects = policies.subjects();
            Inference::new(&subjects, &entities, &in_code).finish()
        })?;
        if schema.problems.is_empty()
            && let Err(error) = self.schema("inferred schema", &*schema.text).build()
        {
            schema.problems = error.problems().to_vec();
        }
        Ok(schema)
    }
}

/// Everything that is known while the policies are read.
struct Inference<'p> {
    subjects: &'p [Subject<'p>],
    types: Types,
    actions: Actions,
    /// Which entity types can be in which, each as the type of the member and that of the group.
    memberships: BTreeSet<(String, String)>,
    /// Types that are entity types by a guess.
    guesses: Vec<Id>,
    problems: Vec<PolicyProblem>,
}

impl<'p> Inference<'p> {
    fn new(subjects: &'p [Subject<'p>], entities: &[Value], in_code: &BTreeSet<String>) -> Self {
        let mut types = Types::default();
        let policies: Vec<(&Policy, &Value)> = (subjects.iter())
            .map(|subject| (&subject.policy, &subject.json))
            .collect();
        let actions = Actions::collect(&policies, entities, in_code, &mut types);
        let mut inference = Self {
            subjects,
            types,
            actions,
            memberships: BTreeSet::new(),
            guesses: Vec::new(),
            problems: Vec::new(),
        };
        inference.read_policies();
        inference.read_entities(entities);
        inference
    }

    fn finish(mut self) -> InferredSchema {
        let text = write::schema(&mut self);
        InferredSchema {
            text,
            problems: self.problems,
        }
    }

    fn read_policies(&mut self) {
        let (mut memberships, mut mismatches) = (Vec::new(), Vec::new());
        for (policy, subject) in self.subjects.iter().enumerate() {
            for environment in self.actions.environments(&subject.policy) {
                self.memberships
                    .extend(scope_groups(&subject.policy, &environment));
                let mut walk = Walk {
                    types: &mut self.types,
                    environment: &environment,
                    policy,
                    memberships: &mut memberships,
                    mismatches: &mut mismatches,
                };
                walk.policy(&subject.json);
            }
        }
        for (member, group) in memberships {
            self.membership(member, group);
        }
        for (policy, expression, mismatch) in mismatches {
            let problem = self.problem(policy, &expression, &mismatch);
            if let Some(problem) = problem.filter(|problem| !self.problems.contains(problem)) {
                self.problems.push(problem);
            }
        }
    }

    /// Notes the operands of an `in`. The right one is an entity or a set of entities.
    fn membership(&mut self, member: Id, group: Id) {
        let group = match self.types.kind(group) {
            Kind::Set(element) => element,
            _ => group,
        };
        let name = |kind: &Kind| match kind {
            Kind::Entity(name) => Some(name.clone()),
            _ => None,
        };
        let (member_kind, group_kind) = (self.types.kind(member), self.types.kind(group));
        let names = (name(&member_kind), name(&group_kind));
        let known = names.0.clone().or(names.1.clone());
        let known = known.unwrap_or_else(|| "Agent".to_owned());
        for (id, kind) in [(member, &member_kind), (group, &group_kind)] {
            if *kind == Kind::Unknown {
                let entity = self.types.add(Kind::Entity(known.clone()), None);
                self.guesses.push(entity);
                // An unknown type fits every other.
                let _ = self.types.unify(id, entity);
            }
        }
        let member = names.0.unwrap_or_else(|| known.clone());
        let group = names.1.unwrap_or(known);
        self.memberships.insert((member, group));
    }

    fn read_entities(&mut self, entities: &[Value]) {
        let mut shapes = Vec::new();
        for entity in entities {
            let uid = entity.get("uid").and_then(Uid::parse);
            let Some(uid) = uid.filter(|uid| !uid.is_action()) else {
                continue;
            };
            let groups = parents(entity).filter_map(Uid::parse);
            let groups = groups.map(|group| (uid.type_name.clone(), group.type_name));
            self.memberships.extend(groups);
            let record = self.types.entity(&uid.type_name);
            let attributes = entity.get("attrs").and_then(Value::as_object);
            for (name, value) in attributes.into_iter().flatten() {
                let attribute = self.types.attribute(record, name, Use::GuardedRead);
                if let Ok(attribute) = attribute {
                    self.value(attribute, value, &uid, name);
                }
            }
            let tags = entity.get("tags").and_then(Value::as_object);
            for (name, value) in tags.into_iter().flatten() {
                let tags = self.types.tags(&uid.type_name);
                self.value(tags, value, &uid, name);
            }
            shapes.push((record, attributes));
        }
        for (record, attributes) in shapes {
            let has =
                |name: &str| attributes.is_some_and(|attributes| attributes.contains_key(name));
            self.types.lack_others(record, has);
        }
    }

    /// Notes the value of an attribute or a tag of an entity.
    fn value(&mut self, id: Id, value: &Value, uid: &Uid, name: &str) {
        let known = self.types.name(id);
        let fits = type_of_value(value, &mut self.types)
            .is_some_and(|found| self.types.unify(id, found).is_ok());
        if !fits {
            let Uid { type_name, id } = uid;
            let message = format!(
                "no type fits `{name}`: its value in `{type_name}::\"{id}\"` is not {known}, which the policies or \
                 other entities need"
            );
            self.problems
                .push(PolicyProblem::unplaced("entities.json", message));
        }
    }

    fn problem(
        &self,
        policy: usize,
        expression: &Value,
        mismatch: &Mismatch,
    ) -> Option<PolicyProblem> {
        let subject = self.subjects.get(policy)?;
        let by = |policy: Option<usize>| {
            let policy = policy.and_then(|policy| self.subjects.get(policy));
            policy.unwrap_or(subject).annotated
        };
        let [one, other] = mismatch.policies.map(by);
        let [first, second] = &mismatch.types;
        let code = path(expression);
        let what = match code.as_str() {
            "…" => "a comparison".to_owned(),
            code => format!("`{code}`"),
        };
        let uses = if one.id == other.id {
            format!("policy `{}` uses it as {first} and as {second}", one.id)
        } else {
            let place = one.source.place(one.span.start);
            format!(
                "policy `{}` uses it as {second}, and policy `{}` at {place} as {first}",
                other.id, one.id
            )
        };
        let message = format!("no type fits {what}: {uses}");
        Some(subject.problem_at(&code, message))
    }
}
