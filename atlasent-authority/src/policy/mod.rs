//! Cedar policies: loading a set ([`Policies`], [`PoliciesBuilder`]), its errors ([`PolicyError`]),
//! explaining its decisions ([`Explanation`]), describing the actions of its schema
//! ([`ActionDescription`]), and checking the fields of requests
//! ([`check_fields`], [`parse_amount`]). With the feature `cedar`, a set as values of the crate
//! `cedar-policy` (`CedarPolicies`). Permits and the audit trail are elsewhere.

mod annotations;
mod approval;
mod budget;
#[cfg(feature = "cedar")]
mod cedar;
mod comparison;
mod context;
mod convert;
mod decide;
mod depth;
mod describe;
mod digest;
mod embedded;
mod error;
mod explain;
mod failure;
pub(crate) mod fields;
mod folder;
mod infer;
mod limits;
mod lint;
mod load;
mod manifest;
mod number;
mod place;
mod prepare;
mod slice;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod trace;
mod types;
mod unknown;
mod verdict;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use atlasent::Context;
#[cfg(feature = "cedar")]
use cedar_policy::PolicySet;
use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid, Schema};

use crate::policy::fields::Fields;
pub use approval::{ApprovalRule, ApproverName, Approvers, Quorum, QuorumTier, RedactedContext};
pub(crate) use approval::{REDACTED, redacts};
pub(crate) use budget::{Budget, BudgetScope, Units};
#[cfg(feature = "cedar")]
pub use cedar::CedarPolicies;
pub use describe::{
    ActionDescription, AttributeDescription, AttributeType, EntityDescription, RecordDescription,
    SetDescription,
};
use digest::Digests;
pub use error::{PolicyError, PolicyProblem};
pub use explain::Explanation;
pub use fields::{check_fields, parse_amount};
#[cfg(feature = "server")]
pub(crate) use folder::MAX_ENTRIES;
pub use infer::InferredSchema;
pub use load::PoliciesBuilder;
#[cfg(feature = "server")]
pub(crate) use manifest::check_manifest;
pub(crate) use number::Numeral;
use slice::Slices;
pub use text::PolicyText;
use types::ContextTypes;
use unknown::KnownAgents;
use verdict::AnnotatedPolicies;
pub(crate) use verdict::{Verdict, code};

/// A validated, immutable set of [Cedar](https://docs.cedarpolicy.com) policies.
///
/// ```
/// use atlasent_authority::Policies;
///
/// let policies = Policies::parse(r#"
///     @id("ops-deploy")
///     permit (principal == Agent::"deploy-bot", action == Action::"deploy.production", resource);
///
///     @id("friday")
///     @decision("hold")
///     @reason("a person releases deployments on Fridays")
///     @code("CHANGE_FREEZE")
///     @retry_after("3600")
///     forbid (principal, action == Action::"deploy.production", resource)
///     when { context.weekday == "friday" };
/// "#)?;
/// assert_eq!(policies.len(), 2);
/// # Ok::<(), atlasent_authority::policy::PolicyError>(())
/// ```
///
/// # What a policy sees
///
/// `principal` is `Agent::"<agent>"`, `action` is `Action::"<action>"`, `resource` is
/// `Resource::"<resource>"`, or `Resource::"default"` when the request names none. `context` is the
/// request's JSON object. A number counts by its exact value, however it is written:
///
/// | JSON | Cedar |
/// |---|---|
/// | `null` | nothing: the key is absent, and a set does not have it |
/// | boolean, string, array, object | boolean, string, set, record |
/// | integral number that fits 64 bits with sign: `7`, `7.0`, `70e-1` | long |
/// | fraction of at most four digits, within Cedar's range: `19.99` | `decimal("19.99")` |
/// | any other number: `1e300`, `0.123456` | the string of its text, so that ordering it is an error |
///
/// No key has a special meaning, `__entity` and `__extn` included. A context with more than 64
/// nested arrays and objects is denied.
///
/// The request's `environment` and `amount` are also `context.environment` and `context.amount`,
/// and the actors of a delegated token are the set `context.actors`, which is absent where the
/// agent acts itself. Policies see no other field.
///
/// With a schema, a value is converted by the type that the action declares: `Long` from any
/// integral number, `decimal` from any number of at most four digits after the point or a string of
/// one, `ipaddr`, `datetime`, `duration` and entities from strings. A request with any other value
/// is denied.
///
/// # What it decides
///
/// A request is allowed only if a `permit` matches and no `forbid` does. A `forbid` wins over every
/// `permit`, and `@decision("deny")`, `@decision("escalate")` or `@decision("hold")` sets its
/// decision; without the annotation it denies. Of several matching `forbid`s, the strongest
/// decision wins, in that order. `@reason`, `@code` and `@retry_after` are returned to the caller:
/// each from the winning policy, or of several, from the first by id that has it.
/// `@retry_after("300")` tells the caller to wait so many whole seconds, from 1 to 31536000 (a
/// year), before it asks again, and is valid on a `forbid` only; the caller reads it from
/// [`Denied::retry_after`](atlasent::Denied::retry_after). `@id` is the policy's id; the default is
/// the name of its source, `#`, and its position there.
///
/// `@budget` limits what the permits of a `permit` add up to, over the calls or over a number of
/// the context: see [budgets](#budgets).
///
/// An annotation whose name starts with `x_`, such as `@x_owner("payments team")`, is for your own
/// use and does not affect decisions. Every other annotation is rejected at load, so that a
/// misspelt `@decision` never turns a hold into a deny.
///
/// # Who releases a hold
///
/// On a `forbid` with `@decision("hold")` or `@decision("escalate")`, further annotations say how
/// people release it. Elsewhere they are rejected at load.
///
/// | annotation | meaning | default |
/// |---|---|---|
/// | `@approvers("role:release-manager, user:alice")` | who may vote: an approver with any of these roles or names | any approver |
/// | `@quorum("2")` | how many approvals are needed: 1 to 100, or `single_approver`, `simple_majority`, `two_thirds` or `unanimous` of a pool. If `@approvers` lists people only, they are the pool, else write `two_thirds of 5` | 1 |
/// | `@approval_ttl("4h")` | how long the hold waits for approvals: 1 second to 30 days | 24 hours |
/// | `@escalate_to("role:director, then role:cto, user:dana")` | who may vote after each escalation: at most 8 steps | no step |
/// | `@redact("card_number, customer.ssn")` | the context's values that approvers do not see, as dotted paths | all are shown |
/// | `@approval_grants("1h")` | the longest time for which an approver may approve the same action and resource for the agent: 1 second to 30 days | an approval is for one call |
///
/// If several policies hold one request, each has to be satisfied.
///
/// # Budgets
///
/// `@budget("amount 1000/day per agent, calls 100/hour per organization")` on a `permit` says how
/// much its permits may add up to. Each budget is what is counted (`calls`, or the dotted path of a
/// number in the context), a limit, `second`, `minute`, `hour` or `day`, and who shares it: each
/// `agent`, each `resource`, or all agents of the `organization`. A budget is a sliding window: at
/// most that much in any hour. A [`LocalAuthority`](crate::LocalAuthority) counts in the
/// transaction that issues the permit. What a permit takes is given back if the permit is revoked
/// or expires before it is used. Numbers have at most four digits after the point, and sums are
/// exact.
///
/// The budgets of every `permit` that grants a request apply. A request that does not fit one is
/// denied with the code `BUDGET_EXCEEDED`, and one without a number that can be added up with
/// `BUDGET_AMOUNT_INVALID`. What is used up belongs to the `@id` of the policy, and stays when the
/// limit changes.
///
/// A request whose decision no policy words is denied with one of these codes:
///
/// | code | when |
/// |---|---|
/// | `NO_MATCHING_POLICY` | no `permit` and no `forbid` matches; or a shadow lacks required attributes of the context, and the scope of no `permit` matches |
/// | `UNKNOWN_ACTION` | no policy names the action, no policy applies to every action, and no schema declares it: probably a misspelling |
/// | `POLICY_EVALUATION_ERROR` | a policy failed to evaluate, for instance because the context lacks a key; Cedar alone would skip it, even if it is a `forbid` |
/// | `REQUEST_NOT_IN_SCHEMA` | the schema does not declare this action, or declares another context for it |
/// | `FIELD_NOT_IN_SCHEMA` | the request sets `environment`, `amount` or `actors`, and the schema does not declare the attribute for this action |
/// | `CONTEXT_TOO_DEEP` | the context nests too deeply |
/// | `CONTEXT_NOT_EXPRESSIBLE` | the context has no Cedar form |
///
/// # How large it may be
///
/// A set has at most 10,000 policies in 1,000 texts, each of at most 1 MiB, and of 16 MiB together.
/// A schema has at most 1 MiB, the entities 64 MiB. A larger set is rejected at load.
///
/// Brackets and chained operators nest at most 200 deep: each enclosing bracket counts, and each
/// operator of the enclosing chains. Write a list of values as a set:
/// `["a", "b"].contains(context.region)`.
pub struct Policies {
    digests: Digests,
    slices: Slices,
    #[cfg(feature = "cedar")]
    whole: PolicySet,
    by_id: AnnotatedPolicies,
    entities: Entities,
    schema: Option<Schema>,
    /// The types that the schema declares for contexts.
    context_types: Option<ContextTypes>,
    types: EntityTypes,
    /// The agents that policies and entities name.
    agents: KnownAgents,
    warnings: Vec<PolicyProblem>,
}

/// What the policies see of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyInput<'a> {
    pub(crate) agent: &'a str,
    pub(crate) action: &'a str,
    pub(crate) resource: Option<&'a str>,
    pub(crate) context: &'a Context,
    /// The fields beside the context, which policies see as attributes of it.
    pub(crate) fields: Fields<'a>,
    /// Whether the request only asks what would be decided. The policies do not see it.
    pub(crate) is_shadow: bool,
}

impl Policies {
    /// Loads every `*.cedar` file directly in a directory, in the order of their names, with
    /// `schema.cedarschema` and `entities.json` where they exist.
    ///
    /// ```no_run
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::from_dir("/etc/atlasent/policies")?;
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    ///
    /// A directory may contain a manifest `policies.sha256` in the format of `sha256sum`. Each
    /// policy file, the schema and the entities must then be listed and match.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when the directory has no policy file, or does not match its manifest; when
    /// a file cannot be read or is not UTF-8; when everyone can write to the directory or to a file
    /// of the set; when the directory contains a pipe, a device or a socket, or more than 10,000
    /// entries; and as [`PoliciesBuilder::build`] does.
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        PoliciesBuilder::from_dir(path)?.build()
    }

    /// Loads policies from one text, which errors and ids name `<policies>`.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::parse(r#"permit (principal, action == Action::"read", resource);"#)?;
    /// assert_eq!(policies.ids().collect::<Vec<_>>(), ["<policies>#1"]);
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PoliciesBuilder::build`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::builder().source("<policies>", text).build()
    }

    /// Returns a builder, for embedded texts, several sources, a schema or entities.
    pub fn builder() -> PoliciesBuilder {
        PoliciesBuilder::default()
    }

    /// Returns the number of policies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns whether the set has no policy. Always `false`, since a set without policies is
    /// rejected at load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Returns the ids of all policies, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let mut ids: Vec<&str> = self
            .by_id
            .values()
            .map(|annotated| &*annotated.id)
            .collect();
        ids.sort_unstable();
        ids.into_iter()
    }

    /// Returns the digest of the whole set: policies, schema and entities, in lower-cedar_request
    /// hex.
    ///
    /// Two servers with the same digest decide alike. It does not depend on comments, on white
    /// space, on the order of policies or on the names of files.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let one = Policies::parse("permit (principal, action, resource);")?;
    /// let same = Policies::parse("permit(principal,action,resource); // everything")?;
    /// let other = Policies::parse("forbid (principal, action, resource);")?;
    /// assert_eq!(one.digest(), same.digest());
    /// assert_ne!(one.digest(), other.digest());
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    #[must_use]
    pub fn digest(&self) -> &str {
        self.digests.whole()
    }

    /// Returns [`digest`](Self::digest), to be shared.
    pub(crate) fn shared_digest(&self) -> Arc<str> {
        Arc::clone(self.digests.whole())
    }

    /// Returns the digest of what decides about one action: the policies whose scope can match it,
    /// the schema and the entities. A permit is valid while it stays the same.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let deploy = r#"permit (principal, action == Action::"deploy", resource);"#;
    /// let read = r#"permit (principal, action == Action::"read", resource);"#;
    /// let before = Policies::parse(deploy)?;
    /// let after = Policies::parse(&format!("{deploy} {read}"))?;
    /// assert_eq!(before.action_digest("deploy"), after.action_digest("deploy"));
    /// assert_ne!(before.action_digest("read"), after.action_digest("read"));
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    #[must_use]
    pub fn action_digest(&self, action: &str) -> &str {
        self.digests.of_action(action)
    }

    /// Returns [`action_digest`](Self::action_digest), to be shared.
    pub(crate) fn shared_action_digest(&self, action: &str) -> Arc<str> {
        Arc::clone(self.digests.of_action(action))
    }

    /// Returns whether the scope of a policy, the schema or the entities name an action.
    #[cfg(feature = "server")]
    pub(crate) fn names_action(&self, action: &str) -> bool {
        self.slices.names_action(action)
    }

    /// Returns the warnings: policies that are valid and probably not what was meant, such as a
    /// `forbid` that never applies. They are also logged at load; [`lint`](Self::lint) finds more.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyProblem] {
        &self.warnings
    }
}

impl fmt::Debug for Policies {
    /// Counts only: policies can be long, and entities can be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("policies", &self.by_id.len())
            .field("entities", &self.entities.len())
            .field("schema", &self.schema.is_some())
            .field("warnings", &self.warnings.len())
            .finish_non_exhaustive()
    }
}

/// The entity types of every request, parsed once.
#[derive(Debug)]
struct EntityTypes {
    agent: EntityTypeName,
    action: EntityTypeName,
    resource: EntityTypeName,
}

impl EntityTypes {
    fn new() -> Result<Self, PolicyError> {
        let parse = |name: &str| {
            name.parse()
                .map_err(|error: cedar_policy::ParseErrors| PolicyProblem::unplaced(name, error))
        };
        Ok(Self {
            agent: parse("Agent")?,
            action: parse("Action")?,
            resource: parse("Resource")?,
        })
    }
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}
