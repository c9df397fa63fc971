//! The policies of one place in the index, filed by the comparison that their conditions open with.
//!
//! A thousand policies for one action often differ in one attribute: `context.tenant == "t17"`, or
//! `context.path like "/srv/*"`. A request selects those that accept what its context has, and
//! those that have to be evaluated in any case.
//!
//! ```text
//! P1: permit … when { context.region == "eu" };
//! P2: permit … when { ["eu", "us"].contains(context.region) };
//! P3: forbid … when { context.region like "eu-*" };
//! P4: forbid … when { context.n > 5 };
//!
//! unfiled: {P4}
//! "region": values { "eu": {P1, P2}, "us": {P2} }, prefixes { "eu-": {P3} }
//!
//! context.region  selects besides P4
//! "eu"            P1, P2
//! "eu-west"       P3
//! 7               P3, whose `like` fails
//! absent          P1, P2, P3, which all fail
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{Literal, Request, ValueKind};

use super::comparison::{Accepted, Comparison, Found, look_up};
use super::prepare::PreparedPolicy;

/// Policies that one action, principal and resource select together.
#[derive(Debug, Default)]
pub(super) struct Place {
    all: Vec<Arc<PreparedPolicy>>,
    /// The policies whose conditions open with no comparison.
    unfiled: Vec<Arc<PreparedPolicy>>,
    by_attribute: HashMap<Vec<String>, Filed>,
}

/// The policies whose conditions open with a comparison of one attribute.
#[derive(Debug, Default)]
struct Filed {
    all: Vec<FiledPolicy>,
    values: HashMap<Literal, Vec<Arc<PreparedPolicy>>>,
    prefixes: HashMap<String, Vec<Arc<PreparedPolicy>>>,
    /// The lengths of all prefixes, in bytes.
    prefix_lengths: BTreeSet<usize>,
}

#[derive(Debug)]
struct FiledPolicy {
    policy: Arc<PreparedPolicy>,
    /// See [`Comparison::tested`].
    tested: usize,
    has_prefix: bool,
}

impl Place {
    pub(super) fn add(&mut self, policy: &Arc<PreparedPolicy>) {
        self.all.push(Arc::clone(policy));
        match policy.comparison() {
            Some(comparison) => {
                let filed = self.by_attribute.entry(comparison.path.clone());
                filed.or_default().add(policy, &comparison);
            }
            None => self.unfiled.push(Arc::clone(policy)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns all policies of the place.
    pub(super) fn all(&self) -> impl Iterator<Item = &PreparedPolicy> {
        self.all.iter().map(|policy| &**policy)
    }

    /// Visits each policy that can be satisfied by the request or fail for it. A policy may be
    /// visited twice.
    pub(super) fn visit<'p>(
        &'p self,
        request: &Request,
        visit: &mut impl FnMut(&'p PreparedPolicy),
    ) {
        self.unfiled.iter().for_each(|policy| visit(policy));
        for (path, filed) in &self.by_attribute {
            filed.visit(look_up(request, path), visit);
        }
    }
}

impl Filed {
    fn add(&mut self, policy: &Arc<PreparedPolicy>, comparison: &Comparison) {
        for accepted in &comparison.accepts {
            let filed = match accepted {
                Accepted::Value(value) => self.values.entry(value.clone()).or_default(),
                Accepted::Prefix(prefix) => {
                    self.prefix_lengths.insert(prefix.len());
                    self.prefixes.entry(prefix.clone()).or_default()
                }
            };
            filed.push(Arc::clone(policy));
        }
        let mut accepts = comparison.accepts.iter();
        self.all.push(FiledPolicy {
            policy: Arc::clone(policy),
            tested: comparison.tested,
            has_prefix: accepts.any(|accepted| matches!(accepted, Accepted::Prefix(_))),
        });
    }

    fn visit<'p>(&'p self, found: Found<'_>, visit: &mut impl FnMut(&'p PreparedPolicy)) {
        let mut visit_those = |needed: &dyn Fn(&FiledPolicy) -> bool| {
            let needed = self.all.iter().filter(|filed| needed(filed));
            needed.for_each(|filed| visit(&filed.policy));
        };
        match found {
            Found::NoRecord => visit_those(&|_| true),
            Found::Absent(step) => visit_those(&|filed| filed.tested <= step),
            Found::Value(ValueKind::Lit(Literal::String(text))) => {
                let equal = self.values.get(&Literal::String(text.clone()));
                let lengths = self.prefix_lengths.range(..=text.len());
                let prefixes = lengths.filter_map(|length| self.prefixes.get(text.get(..*length)?));
                (equal.into_iter().chain(prefixes).flatten()).for_each(|policy| visit(policy));
            }
            Found::Value(value) => {
                visit_those(&|filed| filed.has_prefix);
                if let ValueKind::Lit(value) = value {
                    let equal = self.values.get(value).into_iter().flatten();
                    equal.for_each(|policy| visit(policy));
                }
            }
        }
    }
}
