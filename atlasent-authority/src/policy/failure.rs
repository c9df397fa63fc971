//! Explaining why a policy failed to evaluate, and where. Quotes no value of a request.
//!
//! Some of Cedar's messages quote values: an overflow has both numbers, `ip(…)` the text,
//! `getTag(…)` the name of the tag, and entity errors the id. Those are replaced; the others name
//! attributes and types only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{EvaluationError, Policy};
use miette::Diagnostic;

use super::depth::place_beyond;
use super::lint::paths;
use super::prepare::FailedPolicy;
use super::verdict::AnnotatedPolicies;

/// How many failures of one decision are listed. Further ones are counted only.
const MAX_FAILURES: usize = 20;

/// How many attributes of one expression are named.
const MAX_PATHS: usize = 4;

/// Deeper expressions are not searched for the attributes that they read.
const MAX_DEPTH: usize = 12;

/// Longer expressions are not searched either.
const MAX_EXPRESSION: usize = 1_024;

/// Returns one line for each failure.
pub(super) fn explain_all(errors: &[FailedPolicy], by_id: &AnnotatedPolicies) -> Vec<String> {
    let shown = errors.iter().take(MAX_FAILURES);
    let mut lines: Vec<String> = shown.map(|failed| explain(failed, by_id)).collect();
    let more = errors.len().saturating_sub(MAX_FAILURES);
    if more > 0 {
        lines.push(format!("and {more} more policies could not be evaluated"));
    }
    lines
}

/// ``deploy.cedar:3:14: policy `x`: `context.region`: record does not have the attribute `region`
/// ``
pub(super) fn explain(failed: &FailedPolicy, by_id: &AnnotatedPolicies) -> String {
    let FailedPolicy { id, cause } = failed;
    let words = words(cause);
    let Some(annotated) = by_id.get(id) else {
        return format!("policy `{id}`: {words}");
    };
    let label = cause.labels().and_then(|mut labels| labels.next());
    let span = label
        .map(|label| label.offset()..label.offset().saturating_add(label.len()))
        .filter(|span| annotated.span.contains(&span.start) && span.end <= annotated.span.end);
    let offset = span
        .as_ref()
        .map_or(annotated.span.start, |span| span.start);
    let mut line = format!("{}: policy `{id}`: ", annotated.source.place(offset));
    let expression = span.and_then(|span| annotated.source.text.get(span));
    if let Some(expression) = expression {
        for path in &*annotated.paths.read_by(expression, offset) {
            // Writing to a string does not fail.
            let _ = write!(line, "`{path}`: ");
        }
    }
    line + &words
}

/// The attributes that the expressions of one policy read. An expression is parsed when it fails
/// for the first time: the questions of a list have no arguments, and fail in the same expressions
/// each time.
#[derive(Debug, Default)]
pub(super) struct ReadPaths(Mutex<BTreeMap<Place, Arc<[String]>>>);

/// The offset and the length of an expression.
type Place = (usize, usize);

impl ReadPaths {
    /// Returns the attributes that an expression at this offset of the source reads.
    fn read_by(&self, expression: &str, offset: usize) -> Arc<[String]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = known
            .entry((offset, expression.len()))
            .or_insert_with(|| attributes(expression).into());
        Arc::clone(paths)
    }
}

/// Returns the attributes that an expression of a policy reads.
fn attributes(expression: &str) -> Vec<String> {
    // Parsing uses the caller's stack, which may be small.
    if expression.len() > MAX_EXPRESSION || place_beyond(expression, MAX_DEPTH).is_some() {
        return Vec::new();
    }
    let policy = format!("permit (principal, action, resource) when {{ {expression} }};");
    let Ok(policy) = Policy::parse(None, policy) else {
        return Vec::new();
    };
    let mut paths = policy
        .to_json()
        .map(|json| paths(&json))
        .unwrap_or_default();
    paths.truncate(MAX_PATHS);
    if paths.is_empty() && matches!(expression, "principal" | "resource") {
        paths.push(expression.to_owned());
    }
    paths
}

/// Returns the cause, without a value of the request.
fn words(cause: &EvaluationError) -> String {
    match cause {
        EvaluationError::IntegerOverflow(_) => {
            "integer overflow: the result does not fit 64 bits".to_owned()
        }
        EvaluationError::FailedExtensionFunctionExecution(error) => format!(
            "`{}` does not take the value that it is given",
            error.extension_name()
        ),
        EvaluationError::NonValue(_) => "the expression has no value".to_owned(),
        // With a schema, a string of the context can name an entity, and the name of a tag can come
        // from the context, too. Both would be values of the request; the attribute's name is the
        // policy's.
        EvaluationError::EntityAttrDoesNotExist(error) => {
            let what = if error.to_string().contains("does not have the tag") {
                "tag"
            } else {
                "attribute"
            };
            format!("the entity does not have the {what}")
        }
        EvaluationError::EntityDoesNotExist(_) => {
            "the entity is not among the entities of the policies".to_owned()
        }
        EvaluationError::RecordAttrDoesNotExist(_)
        | EvaluationError::FailedExtensionFunctionLookup(_)
        | EvaluationError::TypeError(_)
        | EvaluationError::WrongNumArguments(_)
        | EvaluationError::UnlinkedSlot(_)
        | EvaluationError::RecursionLimit(_) => cause.to_string(),
        #[allow(
            unreachable_patterns,
            reason = "a feature of Cedar that another crate can turn on adds a variant"
        )]
        _ => "the expression cannot be evaluated".to_owned(),
    }
}
