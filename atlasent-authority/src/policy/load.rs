//! Loading: from texts to checked policies. Reports every problem, not only the first.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::path::Path;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Entities, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use serde::de::IgnoredAny;

use super::annotations::{AnnotatedPolicy, Statement};
use super::budget::mark_redacted;
use super::depth;
use super::digest::Digests;
use super::error::{PolicyError, PolicyProblem, Source};
use super::folder;
use super::limits;
use super::slice::Slices;
use super::types::ContextTypes;
use super::unknown::KnownAgents;
use super::verdict::AnnotatedPolicies;
use super::{EntityTypes, Policies};

/// Collects the texts of a policy set; from [`Policies::builder`].
///
/// ```
/// use atlasent_authority::Policies;
///
/// // A deployed program would take the texts from `include_str!`.
/// let policies = Policies::builder()
///     .source("deploy.cedar", r#"permit (principal in Role::"ops", action == Action::"deploy", resource);"#)
///     .entities(
///         "entities.json",
///         r#"[{ "uid": { "type": "Agent", "id": "deploy-bot" }, "attrs": {},
///               "parents": [{ "type": "Role", "id": "ops" }] }]"#,
///     )
///     .build()?;
/// assert_eq!(policies.ids().collect::<Vec<_>>(), ["deploy.cedar#1"]);
/// # Ok::<(), atlasent_authority::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoliciesBuilder {
    sources: Vec<Arc<Source>>,
    pub(super) schemas: Vec<Source>,
    pub(super) entities: Vec<Source>,
}

impl PoliciesBuilder {
    /// Reads the files of a directory, as [`Policies::from_dir`] does, and does not check their
    /// texts.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when `Policies::from_dir` cannot read the directory.
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        folder::read_dir(path.as_ref())
    }

    /// Returns the name and the text of each source, of the schema and of the entities, sorted by
    /// name.
    #[must_use]
    pub fn texts(&self) -> Vec<(&str, &str)> {
        let sources = self.sources.iter().map(|source| &**source);
        let all = sources.chain(&self.schemas).chain(&self.entities);
        let mut texts: Vec<_> = all.map(|source| (&*source.name, &*source.text)).collect();
        texts.sort_unstable();
        texts
    }

    /// Adds policies in Cedar's syntax. `name` appears in errors and in the ids of policies without
    /// an `@id`, and must be unique. Each call adds to those before.
    pub fn source(mut self, name: &str, text: impl Into<String>) -> Self {
        self.sources.push(Arc::new(Source::new(name, text)));
        self
    }

    /// Sets the schema, in Cedar's own syntax. With a schema, policies are validated strictly at
    /// load, and requests that do not conform to it are denied.
    ///
    /// A set has at most one schema: a second call makes `build` fail, since neither may be
    /// ignored.
    pub fn schema(mut self, name: &str, text: impl Into<String>) -> Self {
        self.schemas.push(Source::new(name, text));
        self
    }

    /// Sets the entities, in Cedar's JSON format: the groups, attributes and tags that policies
    /// refer to.
    ///
    /// A set has at most one text of entities: a second call makes `build` fail, since neither may
    /// be ignored.
    pub fn entities(mut self, name: &str, json: impl Into<String>) -> Self {
        self.entities.push(Source::new(name, json));
        self
    }

    /// Checks the texts and builds the set.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] with every problem: texts that do not parse, templates, unknown annotations,
    /// repeated ids, a second schema or text of entities, and with a schema, policies and entities
    /// that do not conform to it. A set without policies, and one that is larger or nests deeper
    /// than [`Policies`] allows, are errors, too; of the latter no other problem is reported.
    pub fn build(self) -> Result<Policies, PolicyError> {
        let texts = self.sources.iter().map(|source| &**source);
        let exceeded = limits::exceeded(texts, &self.schemas, &self.entities);
        if !exceeded.is_empty() {
            return Err(PolicyError::new(exceeded));
        }
        let texts = self.sources.iter().map(|source| &**source);
        let too_deep: Vec<_> = texts
            .chain(&self.schemas)
            .filter_map(depth::exceeded)
            .collect();
        if !too_deep.is_empty() {
            return Err(PolicyError::new(too_deep));
        }
        depth::on_large_stack(|| self.check())?
    }

    fn check(self) -> Result<Policies, PolicyError> {
        let mut problems = self.repeated_names();
        problems.extend(second(&self.schemas, "schema"));
        problems.extend(second(&self.entities, "text of entities"));
        let statements = collect(self.sources.iter().map(Statement::all_in), &mut problems);
        let statements: Vec<Statement> = statements.into_iter().flatten().collect();
        if let Some(problem) = limits::too_many(statements.len()) {
            return Err(problem.into());
        }
        let annotated = collect(statements.iter().map(Statement::annotated), &mut problems);
        problems.extend(repeated_ids(&annotated));
        let world = collect(iter::once(self.world()), &mut problems).pop();
        if statements.is_empty() && problems.is_empty() {
            problems.push(self.without_policies());
        }
        let Some(world) = world.filter(|_| problems.is_empty()) else {
            return Err(PolicyError::new(problems));
        };
        let policies: Vec<Policy> = (statements.iter().zip(&annotated))
            .map(|(statement, annotated)| statement.policy.new_id(PolicyId::new(&annotated.id)))
            .collect();
        world.assemble(&policies, annotated)
    }

    fn without_policies(&self) -> PolicyProblem {
        let message = "it has no policy, so every request would be denied: write at least one";
        match self.sources.as_slice() {
            [source] => source.problem(message),
            _ => PolicyProblem::unplaced("<policies>", message),
        }
    }

    fn repeated_names(&self) -> Vec<PolicyProblem> {
        let mut seen = HashSet::new();
        (self.sources.iter())
            .filter(|source| !seen.insert(&source.name))
            .map(|source| source.problem("this name is used for two sources: give each its own"))
            .collect()
    }

    /// Parses the schema and the entities. Without its schema, correct entities could look wrong,
    /// so a broken schema is reported alone.
    fn world(&self) -> Result<SchemaAndEntities, Vec<PolicyProblem>> {
        let mut warnings = Vec::new();
        let schema = self
            .schemas
            .first()
            .map(|source| parse_schema(source, &mut warnings))
            .transpose()?;
        let context_types = (schema.as_ref().and(self.schemas.first()))
            .map(|source| ContextTypes::parse(&source.text))
            .transpose()
            .map_err(|error| vec![PolicyProblem::unplaced("<policies>", error)])?;
        let entities = match self.entities.first() {
            Some(source) => parse_entities(source, schema.as_ref())?,
            // The schema's actions are entities, too: `action in …` looks up their groups.
            None => Entities::from_entities([], schema.as_ref())
                .map_err(|error| vec![internal(&error)])?,
        };
        Ok(SchemaAndEntities {
            schema,
            schema_text: self.schemas.first().map(|source| source.text.clone()),
            context_types,
            entities,
            warnings,
        })
    }
}

/// Returns a problem for each text after the first.
fn second<'a>(
    sources: &'a [Source],
    what: &'a str,
) -> impl Iterator<Item = PolicyProblem> + use<'a> {
    let others = sources.iter().skip(1);
    others.map(move |source| source.problem(format!("this is a second {what}: put both in one")))
}

/// The schema and the entities that policies are checked against.
struct SchemaAndEntities {
    schema: Option<Schema>,
    schema_text: Option<String>,
    context_types: Option<ContextTypes>,
    entities: Entities,
    warnings: Vec<PolicyProblem>,
}

impl SchemaAndEntities {
    fn assemble(
        self,
        policies: &[Policy],
        mut annotated: Vec<AnnotatedPolicy>,
    ) -> Result<Policies, PolicyError> {
        let Self {
            schema,
            schema_text,
            context_types,
            entities,
            mut warnings,
        } = self;
        let types = EntityTypes::new()?;
        let mut problems = Vec::new();
        let validator = schema.clone().map(Validator::new);
        for (policy, annotated) in policies.iter().zip(&annotated) {
            warnings.extend(never_applies(policy, annotated, &types));
            if let Some(validator) = &validator {
                let (errors, found) = validate(validator, policy, annotated)?;
                problems.extend(errors);
                warnings.extend(found);
            }
        }
        if !problems.is_empty() {
            return Err(PolicyError::new(problems));
        }
        for warning in &warnings {
            tracing::warn!(%warning, "suspect policy");
        }
        mark_redacted(&mut annotated);
        let by_id: AnnotatedPolicies = policies
            .iter()
            .map(|policy| policy.id().clone())
            .zip(annotated)
            .collect();
        let holds = |id: &PolicyId| {
            let annotated = by_id.get(id);
            annotated.is_some_and(|annotated| annotated.approval.is_some())
        };
        let slices = Slices::new(policies, holds, &entities, &types);
        let digests = Digests::new(policies, schema_text.as_deref(), &entities, &slices)
            .map_err(|error| internal(&*error))?;
        let agents = KnownAgents::new(policies, &entities, &types.agent);
        Ok(Policies {
            digests,
            slices,
            #[cfg(feature = "cedar")]
            whole: PolicySet::from_policies(policies.iter().cloned())
                .map_err(|error| internal(&error))?,
            by_id,
            entities,
            schema,
            context_types,
            types,
            agents,
            warnings,
        })
    }
}

fn parse_schema(
    source: &Source,
    warnings: &mut Vec<PolicyProblem>,
) -> Result<Schema, Vec<PolicyProblem>> {
    let (schema, found) = Schema::from_cedarschema_str(&source.text)
        .map_err(|error| source.problems_of(&error, None))?;
    warnings.extend(found.flat_map(|warning| source.problems_of(&warning, None)));
    Ok(schema)
}

fn parse_entities(
    source: &Source,
    schema: Option<&Schema>,
) -> Result<Entities, Vec<PolicyProblem>> {
    // Cedar does not report the position of an entity in the text; `serde_json` reports that of
    // invalid JSON.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&source.text) {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let place = format!(" at line {line} column {column}");
        let message = message.strip_suffix(&place).unwrap_or(&message);
        let offset = source.offset_of_json(line, column);
        return Err(vec![source.problem_at(offset, message)]);
    }
    Entities::from_json_str(&source.text, schema).map_err(|error| source.problems_of(&error, None))
}

type Findings = (Vec<PolicyProblem>, Vec<PolicyProblem>);

/// Returns the errors and warnings of one policy. Policies are validated one by one, since an error
/// that has a position does not name its source.
fn validate(
    validator: &Validator,
    policy: &Policy,
    annotated: &AnnotatedPolicy,
) -> Result<Findings, PolicyError> {
    let set = PolicySet::from_policies([policy.clone()]).map_err(|error| internal(&error))?;
    let result = validator.validate(&set, ValidationMode::Strict);
    let placed = |error: &dyn Diagnostic| {
        annotated
            .source
            .problems_of(error, Some(annotated.span.start))
    };
    let mut errors: Vec<_> = result
        .validation_errors()
        .flat_map(|error| placed(error))
        .collect();
    let mut warnings: Vec<_> = result
        .validation_warnings()
        .flat_map(|warning| placed(warning))
        .collect();
    // Cedar returns them in the random order of a hash set.
    for found in [&mut errors, &mut warnings] {
        found.sort_by_key(|problem| (problem.line(), problem.column()));
    }
    Ok((errors, warnings))
}

/// Returns a problem for a policy about an entity type that no request has. Such a `permit` is
/// useless, and such a `forbid` protects nothing. Cedar accepts both.
fn never_applies(
    policy: &Policy,
    annotated: &AnnotatedPolicy,
    types: &EntityTypes,
) -> Option<PolicyProblem> {
    let (id, why) = (&annotated.id, foreign_type(policy, types)?);
    let message = format!("policy `{id}` never applies: {why}");
    Some(annotated.source.problem_at(annotated.span.start, message))
}

/// Returns why the scope of a policy matches no request, if it is about an entity type that no
/// request has.
pub(super) fn foreign_type(policy: &Policy, types: &EntityTypes) -> Option<String> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) => Some(uid.type_name().clone()),
        PrincipalConstraint::Is(name) | PrincipalConstraint::IsIn(name, _) => Some(name),
        PrincipalConstraint::Any | PrincipalConstraint::In(_) => None,
    };
    let action = match policy.action_constraint() {
        ActionConstraint::Eq(uid) => Some(uid.type_name().clone()),
        ActionConstraint::Any | ActionConstraint::In(_) => None,
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) => Some(uid.type_name().clone()),
        ResourceConstraint::Is(name) | ResourceConstraint::IsIn(name, _) => Some(name),
        ResourceConstraint::Any | ResourceConstraint::In(_) => None,
    };
    let scope = [
        (principal, &types.agent),
        (action, &types.action),
        (resource, &types.resource),
    ];
    let (named, asked) = scope
        .into_iter()
        .find(|(named, asked)| named.as_ref().is_some_and(|n| n != *asked))?;
    Some(format!(
        "its scope asks for `{}` where requests have `{asked}`",
        named?
    ))
}

fn repeated_ids(annotated: &[AnnotatedPolicy]) -> Vec<PolicyProblem> {
    let mut seen: HashMap<&str, &AnnotatedPolicy> = HashMap::new();
    let mut problems = Vec::new();
    for annotated in annotated {
        match seen.entry(&annotated.id) {
            Entry::Vacant(entry) => {
                entry.insert(annotated);
            }
            Entry::Occupied(entry) => {
                let first = entry.get();
                let place = first.source.place(first.span.start);
                let message = format!("policy id `{}` is already used at {place}", annotated.id);
                problems.push(annotated.source.problem_at(annotated.span.start, message));
            }
        }
    }
    problems
}

/// Returns the problem for an error that the checks above should have excluded.
fn internal(error: &dyn std::error::Error) -> PolicyProblem {
    PolicyProblem::unplaced("<policies>", error)
}

/// Returns the successes, and adds the errors of the others to `problems`.
fn collect<T>(
    results: impl Iterator<Item = Result<T, Vec<PolicyProblem>>>,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<T> {
    results
        .filter_map(|result| result.map_err(|found| problems.extend(found)).ok())
        .collect()
}
