//! Comparisons that can never be true, whatever the request.

use serde_json::Value;

use super::conditions::{
    self, Literal, LiteralType, Order, Part, Requirement, attribute, requirement,
};
use super::path::AttributePath;
use super::{PolicyProblem, Subject};

/// Returns the comparisons of a policy that can never be true. Without a schema, a context contains
/// no entities.
pub(super) fn true_comparisons(subject: &Subject<'_>, has_schema: bool) -> Vec<PolicyProblem> {
    let groups = conditions::groups(&subject.json);
    let problems = (groups.iter()).flat_map(|group| in_group(subject, group, has_schema));
    problems.collect()
}

/// Returns the problem of the first comparison that can never be true and that all conditions of
/// the policy need.
pub(super) fn impossible(subject: &Subject<'_>, has_schema: bool) -> Option<PolicyProblem> {
    let groups = conditions::groups(&subject.json);
    let own = groups.first()?;
    in_group(subject, own, has_schema).into_iter().next()
}

fn in_group(subject: &Subject<'_>, group: &[Part<'_>], has_schema: bool) -> Vec<PolicyProblem> {
    let mut problems = contradictions(subject, group);
    let alone = group.iter().filter_map(|part| alone(part, has_schema));
    problems.extend(alone.map(|(code, why)| subject.suspect(&code, &why)));
    problems
}

/// What the parts of a group require of one attribute.
struct AttributeRequirements {
    read: AttributePath,
    kind: Option<LiteralType>,
    is: Option<Literal>,
    is_not: Vec<Literal>,
    least: i64,
    most: i64,
    why: Option<String>,
}

fn contradictions(subject: &Subject<'_>, group: &[Part<'_>]) -> Vec<PolicyProblem> {
    let mut asked: Vec<AttributeRequirements> = Vec::new();
    for (read, requirement) in group.iter().filter_map(requirement) {
        let known = asked.iter().position(|asked| asked.read == read);
        let entry = match known.and_then(|known| asked.get_mut(known)) {
            Some(entry) => entry,
            None => {
                asked.push(AttributeRequirements::new(read));
                let Some(entry) = asked.last_mut() else {
                    continue;
                };
                entry
            }
        };
        if entry.why.is_none() {
            entry.why = entry.add(requirement);
        }
    }
    let found = asked.iter().filter_map(|asked| {
        let why = asked.why.as_ref()?;
        Some(subject.suspect(&asked.read.to_string(), why))
    });
    found.collect()
}

impl AttributeRequirements {
    fn new(read: AttributePath) -> Self {
        Self {
            read,
            kind: None,
            is: None,
            is_not: Vec::new(),
            least: i64::MIN,
            most: i64::MAX,
            why: None,
        }
    }

    /// Adds a requirement. Returns why it contradicts the former ones, if it does.
    fn add(&mut self, requirement: Requirement) -> Option<String> {
        let read = self.read.to_string();
        let kind = match &requirement {
            Requirement::Is(literal) => Some(literal.kind()),
            Requirement::IsNot(_) => None,
            Requirement::Compares(_, _, kind) | Requirement::IsOf(kind) => Some(*kind),
        };
        if let (Some(before), Some(kind)) = (self.kind, kind)
            && before != kind
        {
            return Some(format!(
                "asks `{read}` to be {} and {} at once",
                before.name(),
                kind.name()
            ));
        }
        self.kind = self.kind.or(kind);
        match requirement {
            Requirement::Is(literal) => {
                if self.is.as_ref().is_some_and(|is| *is != literal) {
                    return Some(format!("asks `{read}` to equal two different values"));
                }
                if let Some(number) = literal.number() {
                    self.least = self.least.max(number);
                    self.most = self.most.min(number);
                }
                self.is = Some(literal);
            }
            Requirement::IsNot(literal) => self.is_not.push(literal),
            Requirement::Compares(order, number, _) => match order {
                Order::Less => {
                    let most = number.checked_sub(1);
                    self.most = self.most.min(most.unwrap_or(i64::MIN));
                }
                Order::LessOrEqual => self.most = self.most.min(number),
                Order::Greater => {
                    let least = number.checked_add(1);
                    self.least = self.least.max(least.unwrap_or(i64::MAX));
                }
                Order::GreaterOrEqual => self.least = self.least.max(number),
            },
            Requirement::IsOf(_) => {}
        }
        if self.least > self.most {
            return Some(format!(
                "asks `{read}` to be in a range that holds no number"
            ));
        }
        let is_excluded = (self.is.as_ref()).is_some_and(|is| self.is_not.contains(is));
        is_excluded.then(|| format!("asks `{read}` to equal a value and not to equal it"))
    }
}

/// Returns the code that can never be true by itself, and why.
fn alone(part: &Part<'_>, has_schema: bool) -> Option<(String, String)> {
    if part.is_negated {
        return None;
    }
    let (operator, body) = part.expression.as_object()?.iter().next()?;
    let (left, right) = (body.get("left")?, body.get("right").unwrap_or(&Value::Null));
    match operator.as_str() {
        "==" => equality(left, right, has_schema).or_else(|| equality(right, left, has_schema)),
        "in" => membership(left, right, has_schema),
        _ => None,
    }
}

fn equality(left: &Value, right: &Value, has_schema: bool) -> Option<(String, String)> {
    let literal = Literal::parse(right)?;
    if let Some(variable) = conditions::variable(left) {
        let code = variable.to_owned();
        let asked = match variable {
            "principal" => "Agent",
            "action" => "Action",
            "resource" => "Resource",
            _ => {
                return (variable == "context").then(|| {
                    let why = format!(
                        "compares `context`, a record, with {}",
                        literal.kind().name()
                    );
                    (code, why)
                });
            }
        };
        return match literal {
            Literal::Entity(name, _) if name == asked => None,
            Literal::Entity(name, _) => Some((
                code,
                format!("compares `{variable}` with a `{name}`, where requests have `{asked}`"),
            )),
            other => Some((
                code,
                format!(
                    "compares `{variable}`, an entity, with {}: write `{asked}::\"…\"`",
                    other.kind().name()
                ),
            )),
        };
    }
    if let Some(other) = Literal::parse(left) {
        return (other.kind() != literal.kind()).then(|| {
            let why = format!(
                "compares {} with {}",
                other.kind().name(),
                literal.kind().name()
            );
            (String::new(), why)
        });
    }
    let read = conditions::context_attribute(left)?;
    match literal {
        Literal::Entity(..) if !has_schema => Some((
            read.to_string(),
            format!(
                "compares `{read}` with an entity, and without a schema a context holds none: \
                 compare it with the id, or declare it in a schema"
            ),
        )),
        _ => None,
    }
}

fn membership(left: &Value, right: &Value, has_schema: bool) -> Option<(String, String)> {
    let listed = right.get("Set").and_then(Value::as_array);
    let in_scalars = listed.into_iter().flatten().chain([right]).any(|value| {
        Literal::parse(value).is_some_and(|literal| literal.kind() != LiteralType::Entity)
    });
    let read = attribute(left);
    let context_attribute = conditions::context_attribute(left).filter(|_| !has_schema);
    let code = match (&read, &context_attribute) {
        (Some(read), _) if in_scalars => read.to_string(),
        (_, Some(read)) => read.to_string(),
        _ if in_scalars => String::new(),
        _ => return None,
    };
    let why = if code.is_empty() {
        "uses `in` with values that are no entities: it compares entities only; \
         write `[…].contains(…)`"
            .to_owned()
    } else {
        format!(
            "uses `in` with `{code}`, which is no entity: it compares entities only; \
             write `[…].contains({code})`"
        )
    };
    Some((code, why))
}
