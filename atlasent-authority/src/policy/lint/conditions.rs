//! Splitting the conditions of a policy into parts that must hold together.
//!
//! It works on Cedar's JSON form of a policy, as [`reads`](super::reads) does.

use serde_json::Value;

use super::path::{AttributePath, Root};

/// An expression without `&&`, `||` and `!` around it, and whether it must be false.
#[derive(Clone, Copy)]
pub(super) struct Part<'p> {
    pub(super) expression: &'p Value,
    pub(super) is_negated: bool,
}

/// Returns the groups of parts that must hold together. The first group is the policy's own; each
/// alternative of an `||` or an `if` is a group by itself.
pub(super) fn groups(policy: &Value) -> Vec<Vec<Part<'_>>> {
    let mut alternatives = Vec::new();
    let mut own = Vec::new();
    let conditions = policy.get("conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        if let Some(body) = condition.get("body") {
            let is_negated = condition.get("kind").and_then(Value::as_str) == Some("unless");
            take_apart(body, is_negated, &mut own, &mut alternatives);
        }
    }
    let mut groups = vec![own];
    groups.append(&mut alternatives);
    groups
}

fn take_apart<'p>(
    expression: &'p Value,
    is_negated: bool,
    group: &mut Vec<Part<'p>>,
    others: &mut Vec<Vec<Part<'p>>>,
) {
    let operand = |operator: &str, name: &str| expression.get(operator)?.get(name);
    let alternative = |part: &'p Value, is_negated: bool, others: &mut Vec<Vec<Part<'p>>>| {
        let mut own = Vec::new();
        take_apart(part, is_negated, &mut own, others);
        others.push(own);
    };
    for (operator, joins) in [("&&", !is_negated), ("||", is_negated)] {
        if let (Some(left), Some(right)) = (operand(operator, "left"), operand(operator, "right")) {
            for part in [left, right] {
                if joins {
                    take_apart(part, is_negated, group, others);
                } else {
                    alternative(part, is_negated, others);
                }
            }
            return;
        }
    }
    if let Some(argument) = operand("!", "arg") {
        return take_apart(argument, !is_negated, group, others);
    }
    if expression.get("if-then-else").is_some() {
        for name in ["if", "then", "else"] {
            if let Some(part) = operand("if-then-else", name) {
                alternative(part, is_negated && name != "if", others);
            }
        }
        return;
    }
    group.push(Part {
        expression,
        is_negated,
    });
}

/// A literal value in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Bool(bool),
    Long(i64),
    /// A decimal, in ten-thousandths.
    Decimal(i64),
    Text(String),
    /// An entity, by its type and its id.
    Entity(String, String),
}

/// The type of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiteralType {
    Bool,
    Long,
    Decimal,
    Text,
    Entity,
}

impl LiteralType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Long => "an integer",
            Self::Decimal => "a `decimal`",
            Self::Text => "a string",
            Self::Entity => "an entity",
        }
    }
}

impl Literal {
    pub(super) fn parse(expression: &Value) -> Option<Self> {
        if let Some(value) = expression.get("Value") {
            return match value {
                Value::Bool(value) => Some(Self::Bool(*value)),
                Value::Number(number) => number.as_i64().map(Self::Long),
                Value::String(text) => Some(Self::Text(text.clone())),
                Value::Object(object) => {
                    let entity = object.get("__entity")?;
                    let text = |name: &str| Some(entity.get(name)?.as_str()?.to_owned());
                    Some(Self::Entity(text("type")?, text("id")?))
                }
                Value::Null | Value::Array(_) => None,
            };
        }
        if let Some(argument) = expression.get("neg").and_then(|neg| neg.get("arg")) {
            return match Self::parse(argument)? {
                Self::Long(long) => long.checked_neg().map(Self::Long),
                _ => None,
            };
        }
        let text = expression.get("decimal")?.get(0)?.get("Value")?.as_str()?;
        decimal(text).map(Self::Decimal)
    }

    pub(super) fn kind(&self) -> LiteralType {
        match self {
            Self::Bool(_) => LiteralType::Bool,
            Self::Long(_) => LiteralType::Long,
            Self::Decimal(_) => LiteralType::Decimal,
            Self::Text(_) => LiteralType::Text,
            Self::Entity(..) => LiteralType::Entity,
        }
    }

    /// Returns the number, which orders literals of one type.
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Long(number) | Self::Decimal(number) => Some(*number),
            Self::Bool(_) | Self::Text(_) | Self::Entity(..) => None,
        }
    }
}

/// Parses ten thousand times the value: digits, a point, one to four digits.
fn decimal(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    if fraction.is_empty() || fraction.len() > 4 {
        return None;
    }
    format!("{whole}{fraction:0<4}").parse().ok()
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// Returns the same comparison with both sides exchanged.
    fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// Returns the comparison that holds exactly when this one does not.
    fn opposite(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }
}

/// What a part requires of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    Is(Literal),
    IsNot(Literal),
    /// The attribute is ordered relative to the number. The type is that of both sides.
    Compares(Order, i64, LiteralType),
    /// The attribute is of the type, since it is ordered relative to something that is not a number
    /// literal.
    IsOf(LiteralType),
}

/// Returns the attribute that a part compares, and what the part requires of it.
pub(super) fn requirement(part: &Part<'_>) -> Option<(AttributePath, Requirement)> {
    let (operator, body) = part.expression.as_object()?.iter().next()?;
    if operator == "like" {
        return Some((
            attribute(body.get("left")?)?,
            Requirement::IsOf(LiteralType::Text),
        ));
    }
    let (left, right, order, kind) = match operator.as_str() {
        "==" | "!=" => (body.get("left")?, body.get("right")?, None, None),
        "<" | "<=" | ">" | ">=" => {
            let order = match operator.as_str() {
                "<" => Order::Less,
                "<=" => Order::LessOrEqual,
                ">" => Order::Greater,
                _ => Order::GreaterOrEqual,
            };
            let sides = (body.get("left")?, body.get("right")?);
            (sides.0, sides.1, Some(order), Some(LiteralType::Long))
        }
        "lessThan" | "lessThanOrEqual" | "greaterThan" | "greaterThanOrEqual" => {
            let order = match operator.as_str() {
                "lessThan" => Order::Less,
                "lessThanOrEqual" => Order::LessOrEqual,
                "greaterThan" => Order::Greater,
                _ => Order::GreaterOrEqual,
            };
            (
                body.get(0)?,
                body.get(1)?,
                Some(order),
                Some(LiteralType::Decimal),
            )
        }
        _ => return None,
    };
    let (read, other, order) = match (attribute(left), attribute(right)) {
        (Some(read), None) => (read, right, order),
        (None, Some(read)) => (read, left, order.map(Order::mirrored)),
        _ => return None,
    };
    let literal = Literal::parse(other);
    let requirement = match (order, kind) {
        (Some(order), Some(kind)) => {
            let order = if part.is_negated {
                order.opposite()
            } else {
                order
            };
            let same_kind = literal.filter(|literal| literal.kind() == kind);
            match same_kind.and_then(|literal| literal.number()) {
                Some(number) => Requirement::Compares(order, number, kind),
                None => Requirement::IsOf(kind),
            }
        }
        _ if (operator == "==") == part.is_negated => Requirement::IsNot(literal?),
        _ => Requirement::Is(literal?),
    };
    Some((read, requirement))
}

/// Returns the attribute that an expression reads, if it is one.
pub(super) fn attribute(expression: &Value) -> Option<AttributePath> {
    AttributePath::parse(expression).filter(AttributePath::is_attribute)
}

/// Returns the variable that an expression is, if it is one.
pub(super) fn variable(expression: &Value) -> Option<&str> {
    expression.get("Var")?.as_str()
}

/// Returns the attribute of the context that an expression reads, if it is one.
pub(super) fn context_attribute(expression: &Value) -> Option<AttributePath> {
    attribute(expression).filter(|read| read.root() == Root::Context)
}
