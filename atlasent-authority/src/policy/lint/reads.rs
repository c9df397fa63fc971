//! The attributes that the conditions of a policy read without a `has` before them.
//!
//! It works on Cedar's JSON form of a policy
//! (<https://docs.cedarpolicy.com/policies/json-format.html>), and follows the order in which Cedar
//! evaluates: what the left side of an `&&` establishes holds on its right side, and what a `when`
//! establishes holds in the conditions after it. In `context has a && context.a > context.b`, the
//! read of `context.a` is guarded and that of `context.b` is not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::{AttributePath, Root, parts};

type AttributePaths = BTreeSet<AttributePath>;

/// The attributes that exist if an expression is true, and if it is false.
#[derive(Default)]
struct Established {
    if_true: AttributePaths,
    if_false: AttributePaths,
}

/// Returns the unguarded reads of a policy. Of nested attributes, only the outermost one that can
/// be missing.
pub(super) fn unguarded(policy: &Value) -> Vec<AttributePath> {
    let mut walk = Walk::default();
    let mut known = AttributePaths::new();
    let conditions = policy.get("conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let Some(body) = condition.get("body") else {
            continue;
        };
        let facts = walk.expression(body, &known);
        let is_unless = condition.get("kind").and_then(Value::as_str) == Some("unless");
        known.extend(if is_unless {
            facts.if_false
        } else {
            facts.if_true
        });
    }
    walk.found.into_iter().collect()
}

/// Returns the attributes that a policy reads, guarded or not, as they are written in a policy.
pub(in crate::policy) fn paths(policy: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_paths(policy, &mut found);
    found
}

fn collect_paths(json: &Value, found: &mut Vec<String>) {
    if let Some(read) = AttributePath::parse(json).filter(AttributePath::is_attribute) {
        let path = read.to_string();
        if !found.contains(&path) {
            found.push(path);
        }
        return;
    }
    for part in parts(json) {
        collect_paths(part, found);
    }
}

#[derive(Default)]
struct Walk {
    found: AttributePaths,
}

impl Walk {
    fn expression(&mut self, expression: &Value, known: &AttributePaths) -> Established {
        let Some((operator, body)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            return Established::default();
        };
        let part = |name: &str| body.get(name).unwrap_or(&Value::Null);
        match operator.as_str() {
            // Entities are literals here, whatever their names look like.
            "Value" | "Var" | "Slot" | "Unknown" => Established::default(),
            "&&" => {
                let left = self.expression(part("left"), known);
                let right = self.expression(part("right"), &union(known, &left.if_true));
                Established {
                    if_false: common(&left.if_false, &union(&left.if_true, &right.if_false)),
                    if_true: union(&left.if_true, &right.if_true),
                }
            }
            "||" => {
                let left = self.expression(part("left"), known);
                let right = self.expression(part("right"), &union(known, &left.if_false));
                Established {
                    if_true: common(&left.if_true, &union(&left.if_false, &right.if_true)),
                    if_false: union(&left.if_false, &right.if_false),
                }
            }
            "!" => {
                let Established { if_true, if_false } = self.expression(part("arg"), known);
                Established {
                    if_true: if_false,
                    if_false: if_true,
                }
            }
            "if-then-else" => {
                let test = self.expression(part("if"), known);
                let then = self.expression(part("then"), &union(known, &test.if_true));
                let other = self.expression(part("else"), &union(known, &test.if_false));
                Established {
                    if_true: common(
                        &union(&test.if_true, &then.if_true),
                        &union(&test.if_false, &other.if_true),
                    ),
                    if_false: common(
                        &union(&test.if_true, &then.if_false),
                        &union(&test.if_false, &other.if_false),
                    ),
                }
            }
            "has" => {
                self.expression(part("left"), known);
                Established {
                    if_true: looked_for(part("left"), part("attr")),
                    ..Established::default()
                }
            }
            "." => {
                self.expression(part("left"), known);
                self.read(expression, known);
                Established::default()
            }
            _ => {
                self.parts(body, known);
                Established::default()
            }
        }
    }

    /// Checks an operator that evaluates all its operands: named parts, a list, or the members of a
    /// record.
    fn parts(&mut self, body: &Value, known: &AttributePaths) {
        for part in parts(body) {
            self.expression(part, known);
        }
    }

    fn read(&mut self, expression: &Value, known: &AttributePaths) {
        let Some(read) = AttributePath::parse(expression) else {
            return;
        };
        // The attributes inside an entity's attributes are not checked.
        let reaches_further = read.names.len() > 1 && read.root != Root::Context;
        let outer_can_miss = read.outer().is_some_and(|outer| !known.contains(&outer));
        if !known.contains(&read) && !outer_can_miss && !reaches_further {
            self.found.insert(read);
        }
    }
}

/// Returns what exists when a `has` is true: `context has a.b` tests one name after the other.
fn looked_for(left: &Value, attribute: &Value) -> AttributePaths {
    let names: Vec<&str> = match attribute {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let mut reads = AttributePaths::new();
    let mut path = AttributePath::parse(left);
    for name in names {
        path = path.map(|path| path.then(name));
        reads.extend(path.clone());
    }
    reads
}

fn union(a: &AttributePaths, b: &AttributePaths) -> AttributePaths {
    a.union(b).cloned().collect()
}

fn common(a: &AttributePaths, b: &AttributePaths) -> AttributePaths {
    a.intersection(b).cloned().collect()
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn found(conditions: &str) -> Vec<String> {
        let text = format!("forbid (principal, action, resource) {conditions};");
        let policy = Policy::parse(None, &text).unwrap();
        let reads = unguarded(&policy.to_json().unwrap());
        reads.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_looked_for_first_is_no_finding() {
        for conditions in [
            "",
            "when { context has a }",
            "when { context has a && context.a > 1 }",
            "when { context has a && context.a > 1 && context.a < 5 }",
            "when { context has a } when { context.a > 1 }",
            "unless { !(context has a) } when { context.a > 1 }",
            "unless { !(context has a) || context.a > 1 }",
            "when { !(context has a && true) || context.a }",
            "when { if context has a then context.a else false }",
            "when { if !(context has a) then true else context.a }",
            "when { context has a.b && context.a.b == 1 && context.a == {} }",
            "when { context has a && context.a has b && context.a.b }",
            "when { (context has a && context.a == 1 || context has a && context.a == 2) && context.a > 0 }",
            "when { context has \"a b\" && context[\"a b\"] }",
            "when { principal has level && principal.level > 1 }",
            "when { resource has owner && resource.owner.name == \"x\" }",
            "when { \"context.a\" == \"context.b\" }",
            "when { {a: 1}.a == 1 && Agent::\"context\".a == 1 }",
        ] {
            assert_eq!(found(conditions), [""; 0], "{conditions}");
        }
    }

    #[test]
    fn what_nobody_looked_for_is_found_wherever_it_stands() {
        for (conditions, reads) in [
            ("when { context.a }", vec!["context.a"]),
            ("unless { context.a }", vec!["context.a"]),
            ("when { context.a > 1 && context.a < 5 }", vec!["context.a"]),
            ("when { context.a && context has a }", vec!["context.a"]),
            ("when { context has a || context.a }", vec!["context.a"]),
            ("when { !(context has a) && context.a }", vec!["context.a"]),
            (
                "unless { context has a } when { context.a }",
                vec!["context.a"],
            ),
            (
                "when { (context has a || context has b) && context.a }",
                vec!["context.a"],
            ),
            (
                "when { if context has a then true else context.a }",
                vec!["context.a"],
            ),
            (
                "when { context has b && context.a == context.b }",
                vec!["context.a"],
            ),
            ("when { context.a.b.c == 1 }", vec!["context.a"]),
            (
                "when { context has a && context.a.b.c == 1 }",
                vec!["context.a.b"],
            ),
            ("when { context.a has b }", vec!["context.a"]),
            ("when { context[\"a b\"] }", vec!["context[\"a b\"]"]),
            ("when { [1, context.a].contains(2) }", vec!["context.a"]),
            ("when { {x: context.a} == {x: 1} }", vec!["context.a"]),
            (
                "when { context.a.lessThan(decimal(\"1.0\")) }",
                vec!["context.a"],
            ),
            (
                "when { context.a like \"x*\" && -context.b == 1 }",
                vec!["context.a", "context.b"],
            ),
            (
                "when { context.a is Agent in principal }",
                vec!["context.a"],
            ),
            (
                "when { principal.level > 1 && resource.owner.x == 1 }",
                vec!["principal.level", "resource.owner"],
            ),
        ] {
            assert_eq!(found(conditions), reads, "{conditions}");
        }
    }

    #[test]
    fn the_guard_is_what_to_write_in_a_policy() {
        let guard = |names: &[&str]| {
            let root = AttributePath {
                root: Root::Context,
                names: Vec::new(),
            };
            names
                .iter()
                .fold(root, |read, name| read.then(name))
                .guard()
        };
        assert_eq!(guard(&["a"]), "context has a");
        assert_eq!(guard(&["a", "b"]), "context.a has b");
        assert_eq!(guard(&["a b"]), "context has \"a b\"");
    }
}
