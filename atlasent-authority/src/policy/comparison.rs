//! The comparison that a policy's conditions open with, by which the index skips the policy for
//! requests whose context compares otherwise.
//!
//! ```text
//! when { context.region == "eu" && context.n > 5 }         region is "eu"
//! when { ["eu", "us"].contains(context.region) }           region is "eu" or "us"
//! when { context.repo.name like "acme/*" }                 repo.name starts with "acme/"
//! when { context has region && context.region == "eu" }    region is "eu", or absent: false, too
//! when { context.n > 5 && context.region == "eu" }         none: `context.n > 5` may fail
//! ```
//!
//! # Why a skipped policy is unsatisfied, and not in error
//!
//! Cedar evaluates the operands of `&&` from left to right, and stops at the first that is false.
//! So it is enough that one operand is false and that none before it fails. The comparison is an
//! operand of that kind, and the operands before it are tests that cannot fail, or that ask whether
//! the context has what the comparison reads.
//!
//! - `==` and `contains` accept values of any two types. They fail only if the attribute is
//!   absent. Then the policy is evaluated, unless the conditions ask first whether it is there.
//! - `like` fails for a value that is no string. Then the policy is evaluated.
//! - Where a step of the path leads to an entity or to any other value that is no record, the
//!   policy is evaluated.

use cedar_policy_core::ast::{
    BinaryOp, Context, Expr, ExprKind, Literal, Pattern, PatternElem, Request, UnaryOp, Value,
    ValueKind, Var,
};

/// How many operands of `&&` are searched for a comparison.
const MAX_OPERANDS: usize = 16;

/// A comparison of one attribute of the context with constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    /// The attribute, as the path from the context. Never empty.
    pub(super) path: Vec<String>,
    /// How many of the first steps of the path are tested with `has` before the comparison. Where
    /// such a step is absent, the conditions are false.
    pub(super) tested: usize,
    /// The conditions are false unless the attribute passes one of these.
    pub(super) accepts: Vec<Accepted>,
}

/// One test of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Accepted {
    /// The attribute equals this.
    Value(Literal),
    /// The attribute is a string that starts with this. Never empty.
    Prefix(String),
}

/// What a context has at the path of a comparison.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'c> {
    Value(&'c ValueKind),
    /// The step with this index is absent. Those before it lead to records.
    Absent(usize),
    /// A step leads to a value that is no record.
    NoRecord,
}

impl Comparison {
    /// Returns the first comparison that the conditions of a policy evaluate.
    pub(super) fn find(conditions: &Expr) -> Option<Self> {
        let mut operands = Vec::new();
        operands_of_and(conditions, &mut operands);
        (operands.iter().enumerate()).find_map(|(position, operand)| {
            let (path, accepts) = comparison(operand)?;
            let before = operands.get(..position)?;
            let tested = tested_steps(before, &path)?;
            Some(Self {
                path,
                tested,
                accepts,
            })
        })
    }
}

/// Returns what the context of a request has at a path.
pub(super) fn look_up<'c>(request: &'c Request, path: &[String]) -> Found<'c> {
    let Some(Context::Value(record)) = request.context() else {
        return Found::NoRecord;
    };
    let mut record = &**record;
    let mut steps = path.iter().enumerate().peekable();
    while let Some((index, step)) = steps.next() {
        let Some(Value { value, .. }) = record.get(step.as_str()) else {
            return Found::Absent(index);
        };
        match (steps.peek(), value) {
            (None, value) => return Found::Value(value),
            (Some(_), ValueKind::Record(inner)) => record = inner,
            (Some(_), _) => return Found::NoRecord,
        }
    }
    Found::NoRecord
}

/// Collects the operands of a chain of `&&`, in the order in which they are evaluated.
fn operands_of_and<'e>(expression: &'e Expr, operands: &mut Vec<&'e Expr>) {
    if operands.len() == MAX_OPERANDS {
        return;
    }
    match expression.expr_kind() {
        ExprKind::And { left, right } => {
            operands_of_and(left, operands);
            operands_of_and(right, operands);
        }
        _ => operands.push(expression),
    }
}

/// Returns the attribute that an expression compares with constants. The expression is true only if
/// the attribute passes one of the tests, and fails only as the module says.
fn comparison(expression: &Expr) -> Option<(Vec<String>, Vec<Accepted>)> {
    match expression.expr_kind() {
        ExprKind::BinaryApp {
            op: BinaryOp::Eq,
            arg1,
            arg2,
        } => {
            let (path, constant) = match (path_of(arg1), path_of(arg2)) {
                (Some(path), None) => (path, arg2),
                (None, Some(path)) => (path, arg1),
                (Some(_), Some(_)) | (None, None) => return None,
            };
            Some((path, vec![Accepted::Value(literal(constant)?)]))
        }
        ExprKind::BinaryApp {
            op: BinaryOp::Contains,
            arg1,
            arg2,
        } => {
            let ExprKind::Set(elements) = arg1.expr_kind() else {
                return None;
            };
            let values = elements.iter().map(|e| literal(e).map(Accepted::Value));
            Some((path_of(arg2)?, values.collect::<Option<_>>()?))
        }
        ExprKind::Like { expr, pattern } => {
            let prefix = prefix_of(pattern)?;
            Some((path_of(expr)?, vec![Accepted::Prefix(prefix)]))
        }
        ExprKind::Or { left, right } => {
            let (path, mut accepts) = comparison(left)?;
            let (same, others) = comparison(right)?;
            accepts.extend(others);
            (path == same).then_some((path, accepts))
        }
        _ => None,
    }
}

/// Returns the steps of `context.a.b`: at least one.
fn path_of(expression: &Expr) -> Option<Vec<String>> {
    let ExprKind::GetAttr { expr, attr } = expression.expr_kind() else {
        return None;
    };
    let mut path = match expr.expr_kind() {
        ExprKind::Var(Var::Context) => Vec::new(),
        _ => path_of(expr)?,
    };
    path.push(attr.to_string());
    Some(path)
}

fn literal(expression: &Expr) -> Option<Literal> {
    match expression.expr_kind() {
        ExprKind::Lit(literal) => Some(literal.clone()),
        _ => None,
    }
}

/// Returns the text before the first wildcard, if there is any.
fn prefix_of(pattern: &Pattern) -> Option<String> {
    let characters = pattern.iter().map_while(|element| match element {
        PatternElem::Char(character) => Some(*character),
        PatternElem::Wildcard => None,
    });
    let prefix: String = characters.collect();
    (!prefix.is_empty()).then_some(prefix)
}

/// Returns how many steps of `path` the operands before a comparison test with `has`. `None` if one
/// of these operands may fail where the path leads to a value, or to an absent step.
fn tested_steps(operands: &[&Expr], path: &[String]) -> Option<usize> {
    let mut tested = 0;
    for operand in operands {
        match has(operand) {
            // `context.a has b` fails without `context.a`, so that has to be tested before.
            Some((base, steps)) if base <= tested && path.starts_with(&steps) => {
                tested = tested.max(steps.len());
            }
            _ if cannot_fail(operand) => {}
            _ => return None,
        }
    }
    Some(tested)
}

/// Returns the path that `context.a has b.c` tests, `a.b.c`, and how many of its steps it reads
/// without a test.
fn has(expression: &Expr) -> Option<(usize, Vec<String>)> {
    let (expression, attributes): (_, Vec<_>) = match expression.expr_kind() {
        ExprKind::HasAttr { expr, attr } => (expr, vec![attr]),
        ExprKind::ExtHasAttr { expr, attrs } => (expr, attrs.iter().collect()),
        _ => return None,
    };
    let mut path = match expression.expr_kind() {
        ExprKind::Var(Var::Context) => Vec::new(),
        _ => path_of(expression)?,
    };
    let base = path.len();
    path.extend(attributes.into_iter().map(ToString::to_string));
    Some((base, path))
}

/// Returns whether an expression is a boolean for every request.
fn cannot_fail(expression: &Expr) -> bool {
    match expression.expr_kind() {
        ExprKind::Lit(Literal::Bool(_)) => true,
        ExprKind::HasAttr { expr, .. } => matches!(expr.expr_kind(), ExprKind::Var(_)),
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            cannot_fail(left) && cannot_fail(right)
        }
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => cannot_fail(arg),
        ExprKind::Is { expr, .. } => is_entity_of_request(expr),
        ExprKind::BinaryApp {
            op: BinaryOp::Eq,
            arg1,
            arg2,
        } => is_constant(arg1) && is_constant(arg2),
        ExprKind::BinaryApp {
            op: BinaryOp::In,
            arg1,
            arg2,
        } => is_entity_of_request(arg1) && names_entities(arg2),
        _ => false,
    }
}

fn is_entity_of_request(expression: &Expr) -> bool {
    matches!(
        expression.expr_kind(),
        ExprKind::Var(Var::Principal | Var::Action | Var::Resource)
    )
}

fn is_constant(expression: &Expr) -> bool {
    matches!(expression.expr_kind(), ExprKind::Lit(_) | ExprKind::Var(_))
}

/// Returns whether an expression is an entity, or a set of entities, by name.
fn names_entities(expression: &Expr) -> bool {
    let names_one = |e: &Expr| matches!(e.expr_kind(), ExprKind::Lit(Literal::EntityUID(_)));
    match expression.expr_kind() {
        ExprKind::Set(elements) => elements.iter().all(names_one),
        _ => names_one(expression),
    }
}
