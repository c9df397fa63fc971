//! Numbers that a policy compares in another form than they arrive in. Without a schema only, since
//! a schema converts numbers to the declared type.

use std::collections::HashSet;

use cedar_policy::{ActionConstraint, EntityUid};

use super::conditions::{Literal, LiteralType, Requirement, groups, requirement};
use super::path::{AttributePath, Root};
use super::{PolicyProblem, Subject};

/// Words for numbers that usually have a fraction.
const FRACTIONAL: [&str; 16] = [
    "amount",
    "price",
    "cost",
    "fee",
    "balance",
    "budget",
    "spend",
    "rate",
    "ratio",
    "percent",
    "percentage",
    "discount",
    "score",
    "probability",
    "usd",
    "eur",
];

/// Words for numbers that have no fraction.
const WHOLE: [&str; 7] = ["cents", "cent", "minor", "count", "basis", "bps", "limit"];

/// Returns the problems of the numbers that policies read from the context.
pub(super) fn suspect(subjects: &[Subject<'_>]) -> Vec<PolicyProblem> {
    let mut problems = Vec::new();
    // The type that each policy compares each attribute as.
    let mut compared: Vec<(AttributePath, usize, LiteralType)> = Vec::new();
    for (n, subject) in subjects.iter().enumerate() {
        for (read, requirement) in requirements(subject) {
            match requirement {
                Requirement::Is(Literal::Text(text)) | Requirement::IsNot(Literal::Text(text))
                    if is_fraction(&text) && !is_version(read.last()) =>
                {
                    let message = format!(
                        "policy `{}` compares `{read}` with a string that reads like a number: a number in a request \
                         never equals it; compare with `decimal(\"{text}\")`",
                        subject.annotated.id
                    );
                    problems.push(subject.problem_at(&read.to_string(), message));
                }
                Requirement::Compares(_, _, kind)
                | Requirement::IsOf(kind @ (LiteralType::Long | LiteralType::Decimal)) => {
                    let entry = (read, n, kind);
                    if !compared.contains(&entry) {
                        compared.push(entry);
                    }
                }
                _ => {}
            }
        }
    }
    for (at, (read, n, kind)) in compared.iter().enumerate() {
        let Some(subject) = subjects.get(*n) else {
            continue;
        };
        let before = compared.iter().take(at).find_map(|(other, m, with)| {
            let other_subject = subjects.get(*m).filter(|_| other == read && with != kind)?;
            (*m != *n && meet(other_subject, subject)).then_some((other_subject, *with))
        });
        if let Some((other, with)) = before {
            let message = format!(
                "policy `{}` compares `{read}` as {}, and policy `{}` as {}: whatever number comes, one of them \
                 cannot be evaluated; compare it alike, or declare it in a schema",
                subject.annotated.id,
                kind.name(),
                other.annotated.id,
                with.name()
            );
            problems.push(subject.problem_at(&read.to_string(), message));
        } else if *kind == LiteralType::Long && is_fractional(read.last()) {
            let message = format!(
                "policy `{}` compares `{read}` as an integer: a number with a fraction, such as 19.99, cannot be \
                 compared so, and is denied as `POLICY_EVALUATION_ERROR`; declare it in a schema, or name it for the \
                 whole units that it counts, such as `{}_cents`",
                subject.annotated.id,
                read.last()
            );
            problems.push(subject.problem_at(&read.to_string(), message));
        }
    }
    problems
}

/// Returns what a policy requires of the attributes of the context.
fn requirements(subject: &Subject<'_>) -> Vec<(AttributePath, Requirement)> {
    let groups = groups(&subject.json);
    let requirements = groups.iter().flatten().filter_map(requirement);
    requirements
        .filter(|(read, _)| read.root() == Root::Context)
        .collect()
}

/// Returns whether one request can match both scopes.
fn meet(a: &Subject<'_>, b: &Subject<'_>) -> bool {
    let named = |subject: &Subject<'_>| -> Option<HashSet<EntityUid>> {
        match subject.policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(action) => Some([action].into()),
            ActionConstraint::In(actions) => Some(actions.into_iter().collect()),
        }
    };
    match (named(a), named(b)) {
        (Some(a), Some(b)) => !a.is_disjoint(&b),
        _ => true,
    }
}

/// Returns whether a text is digits, a point, digits.
fn is_fraction(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    unsigned
        .split_once('.')
        .is_some_and(|(whole, fraction)| digits(whole) && digits(fraction))
}

fn is_version(name: &str) -> bool {
    words(name).any(|word| word.starts_with("ver") || word == "release" || word == "tag")
}

fn is_fractional(name: &str) -> bool {
    words(name).any(|word| FRACTIONAL.contains(&&*word))
        && !words(name).any(|word| WHOLE.contains(&&*word))
}

/// Returns the words of a name: `unitPrice` and `unit_price` have two.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        let begins = !character.is_alphanumeric() || (character.is_uppercase() && was_lower);
        if begins {
            words.push(String::new());
        }
        was_lower = character.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
    }
    words.into_iter().filter(|word| !word.is_empty())
}
