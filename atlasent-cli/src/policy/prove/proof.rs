//! The two questions of a proof, asked for one action.
//!
//! Cedar skips a policy that fails to evaluate, and an authority denies the request. The two agree
//! on every request on which no policy fails. So:
//!
//! - [`Scene::never_errs`] shows that a policy does not fail.
//! - [`Scene::allows_no_more`] shows that each request that one set allows is allowed by another
//!   one, the outer set. Where policies may fail, the question says that these deny.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv};
use cedar_policy_symcc::term::Term;
use cedar_policy_symcc::term_factory::{not, or};
use cedar_policy_symcc::{
    Asserts, CompiledPolicy, CompiledPolicySet, CompiledSchema, Env, SymEnv, always_denies_asserts,
    implies_asserts, never_errors_asserts,
};
use serde_json::Value;

use super::counterexample::Counterexample;
use super::difference::Outer;
use super::facts;
use super::side::Side;
use super::solver::{Outcome, Solver, reason};
use crate::exit::Failure;

/// The answer to a question.
pub(super) enum Answer {
    Proved,
    /// A request for which the claim is wrong, as the policy sets decide it.
    Counterexample(Box<Counterexample>),
    /// The reason why there is no answer.
    Undecided(String),
}

/// The requests for one action that conform to the schema of one side, and what is known of them.
pub(super) struct Scene<'s> {
    side: Side<'s>,
    /// The policies of the side that can match the action.
    policies: &'s [&'s Policy],
    /// The outer set, if there is a comparison.
    outer: Option<&'s Outer<'s>>,
    environment: RequestEnv,
    symbols: SymEnv,
    /// Conditions that hold for every request. Most questions do not need them.
    facts: OnceCell<Vec<String>>,
}

impl<'s> Scene<'s> {
    pub(super) fn new(
        side: Side<'s>,
        schema: &CompiledSchema,
        environment: RequestEnv,
        policies: &'s [&'s Policy],
        outer: Option<&'s Outer<'s>>,
    ) -> Result<Self, Failure> {
        let symbols = schema.sym_env(&environment);
        Ok(Self {
            side,
            policies,
            outer,
            environment,
            symbols: symbols.map_err(|error| Failure::misuse(reason(&error)))?,
            facts: OnceCell::new(),
        })
    }

    /// Returns the attributes that the policies read of entities and that the schema requires, with
    /// the types of the entities.
    pub(super) fn required(&self) -> BTreeSet<(String, String)> {
        let outer = self.outer.iter().flat_map(|outer| &outer.policies);
        let policies: Vec<&Policy> = self.policies.iter().copied().chain(outer).collect();
        let names = facts::attributes(&policies);
        let types = self.side.schema.entity_types();
        let pairs = types.flat_map(|name| names.iter().map(move |attribute| (name, attribute)));
        pairs
            .filter(|(name, attribute)| {
                facts::is_required(name, attribute, |condition| self.is_valid(condition))
            })
            .map(|(name, attribute)| (name.to_string(), attribute.clone()))
            .collect()
    }

    fn facts(&self) -> &[String] {
        self.facts.get_or_init(|| {
            let action = self.environment.action().id().unescaped();
            let is_valid = |condition: &str| self.is_valid(condition);
            facts::collect(&self.side, action, self.policies, self.outer, is_valid)
        })
    }

    /// Whether a condition has a type in a policy for these requests.
    fn is_valid(&self, condition: &str) -> bool {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        Policy::parse(None, text).is_ok_and(|policy| self.compiled(&policy).is_ok())
    }

    /// Asks whether a policy of the side fails to evaluate on any request.
    pub(super) async fn never_errs(
        &self,
        solver: &mut Solver,
        policy: &Policy,
        sides: &[Side<'_>],
    ) -> Result<Answer, Failure> {
        let compiled = match self.compiled(policy) {
            Ok(compiled) => compiled,
            Err(why) => return Ok(Answer::Undecided(why)),
        };
        // Most policies never fail, whatever the entities are.
        if let Outcome::Proved = solver.never_errs(&compiled).await? {
            return Ok(Answer::Proved);
        }
        let compiled = under(policy, self.facts()).and_then(|policy| self.compiled(&policy));
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(why) => return Ok(Answer::Undecided(why)),
        };
        let outcome = solver.never_errs(&compiled).await?;
        let id: &str = policy.id().as_ref();
        Ok(self.answer(outcome, sides, |counterexample| {
            counterexample.fails(&self.side, id)
        }))
    }

    /// Asks whether each request that the side allows by these policies is allowed by the outer
    /// set. `may_fail` tells which policies are not proved to never fail.
    pub(super) async fn allows_no_more(
        &self,
        solver: &mut Solver,
        sides: &[Side<'_>],
        outer: &Outer<'_>,
        may_fail: impl Fn(&Side<'_>, &Policy) -> bool,
    ) -> Result<Answer, Failure> {
        let prepared = || -> Result<_, String> {
            let failing = |side: &Side<'_>, policies: &[&Policy]| -> Result<Vec<_>, String> {
                let failing = policies.iter().filter(|policy| may_fail(side, policy));
                failing.map(|policy| self.compiled(policy)).collect()
            };
            let outer_policies: Vec<&Policy> = outer.policies.iter().collect();
            let inner = failing(&self.side, self.policies)?;
            let outer_failing = failing(&outer.side, &outer_policies)?;
            let outer_set = self.compiled_set(outer.policies.iter().cloned())?;
            Ok((outer_set, inner, outer_failing))
        };
        let (outer_set, inner_failing, outer_failing) = match prepared() {
            Ok(prepared) => prepared,
            Err(why) => return Ok(Answer::Undecided(why)),
        };
        let any_fails = !inner_failing.is_empty() || !outer_failing.is_empty();
        // Most claims hold whatever the entities are. With groups of its own, the outer set is about
        // entities that only the facts describe.
        if !any_fails && !outer.has_own_groups {
            let plain = match self.compiled_set(self.policies.iter().copied().cloned()) {
                Ok(plain) => plain,
                Err(why) => return Ok(Answer::Undecided(why)),
            };
            if let Outcome::Proved = solver.implies(&plain, &outer_set).await? {
                return Ok(Answer::Proved);
            }
        }
        let narrowed = narrowed(self.policies, self.facts());
        let narrowed = match narrowed.and_then(|policies| self.compiled_set(policies)) {
            Ok(narrowed) => narrowed,
            Err(why) => return Ok(Answer::Undecided(why)),
        };
        if any_fails {
            let asserts = denied_on_failure(&narrowed, &outer_set, &inner_failing, &outer_failing);
            if let Outcome::Proved = solver.unsatisfiable(asserts, &self.symbols).await? {
                return Ok(Answer::Proved);
            }
        }
        let outcome = solver.implies(&narrowed, &outer_set).await?;
        if any_fails && matches!(outcome, Outcome::Proved) {
            return Ok(Answer::Undecided(
                "a policy that fails to evaluate denies a request, which makes the difference"
                    .to_owned(),
            ));
        }
        Ok(self.answer(outcome, sides, |counterexample| {
            counterexample.tells_apart(&self.side, &outer.side)
        }))
    }

    /// Turns a result of the solver into an answer. A counterexample counts if the policy sets
    /// confirm it.
    fn answer(
        &self,
        outcome: Outcome,
        sides: &[Side<'_>],
        confirms: impl Fn(&Counterexample) -> bool,
    ) -> Answer {
        let env: Env = match outcome {
            Outcome::Proved => return Answer::Proved,
            Outcome::Undecided(why) => return Answer::Undecided(why),
            Outcome::Refuted(env) => *env,
        };
        let found = match Counterexample::new(&env.request, &self.side, sides) {
            Ok(found) => found,
            Err(why) => {
                return Answer::Undecided(format!(
                    "the solver's counterexample is no request that an authority can get: {why}"
                ));
            }
        };
        // Where the resource does not matter, the solver makes one up.
        let simpler = found.without_resource(sides);
        let mut confirmed = [simpler, found.clone()].into_iter().filter(confirms);
        match confirmed.next() {
            Some(counterexample) => Answer::Counterexample(Box::new(counterexample)),
            None => Answer::Undecided(format!(
                "the policies do not confirm the solver's counterexample, which may need other entities than `entities.json` has: {}",
                found.json()
            )),
        }
    }

    fn compiled(&self, policy: &Policy) -> Result<CompiledPolicy, String> {
        let symbols = self.symbols.clone();
        CompiledPolicy::compile_with_custom_symenv(
            policy,
            &self.environment,
            self.side.schema,
            symbols,
        )
        .map_err(|error| reason(&error))
    }

    fn compiled_set(
        &self,
        policies: impl IntoIterator<Item = Policy>,
    ) -> Result<CompiledPolicySet, String> {
        let set = PolicySet::from_policies(policies);
        let set = set.map_err(|error| error.to_string())?;
        let symbols = self.symbols.clone();
        CompiledPolicySet::compile_with_custom_symenv(
            &set,
            &self.environment,
            self.side.schema,
            symbols,
        )
        .map_err(|error| reason(&error))
    }
}

/// Returns terms that are unsatisfiable exactly if each request that an authority allows by `inner`
/// is allowed by an authority with `outer`, where any of the given policies denies when it fails:
///
/// ```text
/// inner allows ∧ no policy of inner fails ∧ (outer does not allow ∨ a policy of outer fails)
/// ```
fn denied_on_failure(
    inner: &CompiledPolicySet,
    outer: &CompiledPolicySet,
    inner_failing: &[CompiledPolicy],
    outer_failing: &[CompiledPolicy],
) -> Asserts {
    // The last term of each question is its claim, negated; those before are about all entities.
    let claim = |asserts: &Asserts| asserts.last().cloned().unwrap_or_else(|| true.into());
    let fails = |policy: &CompiledPolicy| claim(never_errors_asserts(policy).asserts());
    let allows = claim(always_denies_asserts(inner).asserts());
    let differs = implies_asserts(inner, outer);
    let mut terms: Vec<Term> = differs.asserts().to_vec();
    let only_inner_allows = terms.pop().unwrap_or_else(|| true.into());
    // Where both claims are constant, the question has no terms about entities.
    let related = outer_failing.iter().map(never_errors_asserts);
    let related = related.chain([always_denies_asserts(inner)]);
    for question in related {
        let (_, about_entities) = question.asserts().split_last().unzip();
        terms.extend(about_entities.into_iter().flatten().cloned());
    }
    let outer_denies = (outer_failing.iter().map(fails)).fold(only_inner_allows, or);
    let inner_fails = inner_failing.iter().map(fails);
    terms.extend(inner_fails.map(not));
    terms.extend([allows, outer_denies]);
    Asserts::new(terms)
}

/// Returns a policy that fails exactly if `policy` fails on a request for which the facts hold.
fn under(policy: &Policy, facts: &[String]) -> Result<Policy, String> {
    let whens: Vec<String> = (facts.iter())
        .map(|condition| format!("when {{ {condition} }}"))
        .collect();
    let text = format!("permit (principal, action, resource) {};", whens.join(" "));
    let facts = Policy::parse(None, &text).map_err(|error| error.to_string())?;
    let json = |policy: &Policy| policy.to_json().map_err(|error| error.to_string());
    let (mut policy_json, mut facts_json) = (json(policy)?, json(&facts)?);
    // Cedar evaluates the conditions in their order, up to the first that is false.
    let mut conditions = match facts_json.get_mut("conditions").map(Value::take) {
        Some(Value::Array(conditions)) => conditions,
        _ => Vec::new(),
    };
    if let Some(Value::Array(own)) = policy_json.get_mut("conditions") {
        conditions.append(own);
    }
    if let Some(object) = policy_json.as_object_mut() {
        object.insert("conditions".to_owned(), conditions.into());
    }
    Policy::from_json(Some(policy.id().clone()), policy_json).map_err(|error| error.to_string())
}

/// Adds policies that forbid each request for which a fact is wrong.
fn narrowed(policies: &[&Policy], facts: &[String]) -> Result<Vec<Policy>, String> {
    let mut narrowed: Vec<Policy> = policies.iter().copied().cloned().collect();
    let texts = facts.iter();
    let texts = texts
        .map(|condition| format!("forbid (principal, action, resource) unless {{ {condition} }};"));
    let facts: PolicySet = (texts.collect::<String>().parse())
        .map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
    // The ids of policies that authors wrote hold no NUL, so these are of their own.
    let forbids = facts.policies().enumerate();
    narrowed
        .extend(forbids.map(|(index, policy)| policy.new_id(PolicyId::new(format!("\0{index}")))));
    Ok(narrowed)
}
