//! Deep nesting is rejected with its position, and accepted nesting fits on the stack of any
//! thread.

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context};
use serde_json::json;

use super::{Policies, ask, parse_error};
use crate::policy::depth::MAX_DEPTH;

/// The smallest default stack of a thread.
const STACK: usize = 2 << 20;

/// Returns conditions that nest to a depth, and ones that fail to evaluate at their innermost
/// position.
fn conditions(depth: usize) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str, count: usize| {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    let chain = |operand: &str, operator: &str, count: usize| {
        vec![operand; count + 1].join(&format!(" {operator} "))
    };
    vec![
        around("(", "context.a", ")", depth - 1),
        around("[", "context.a", "]", depth - 2) + ".isEmpty()",
        around("{a: ", "context.a", "}", depth - 4) + " has a",
        around("(context.a && ", "true", ")", depth / 2 - 1),
        around("(true && ", "context.a", ")", depth / 2 - 1),
        around("!(", "context.a", ")", depth / 2 - 1),
        around("[1].contains(", "1", ")", depth / 2 - 1),
        chain("true", "&&", depth),
        chain("false", "||", depth),
        format!("{} && context.a", chain("true", "&&", depth - 2)),
        chain("context.a == \"x\"", "||", depth - 2),
        format!("{} == 1", chain("1", "+", depth - 1)),
        format!("{} == 1", chain("1", "-", depth - 1)),
        format!("context{}", ".a".repeat(depth)),
        format!("context has a{}", ".a".repeat(depth - 1)),
        format!("{}true", "if context.a then true else ".repeat(depth - 1)),
        format!("{}true", "if true then context.a else ".repeat(depth - 1)),
    ]
}

fn policy(condition: &str) -> String {
    format!("permit (principal, action, resource)\nwhen {{\n  {condition}\n}};")
}

#[test]
fn what_is_accepted_is_loaded_decided_explained_and_dropped_on_any_stack() {
    // The braces of `when` are one level.
    for condition in conditions(MAX_DEPTH - 1) {
        let text = policy(&condition);
        let whole = move || {
            let policies = Policies::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            for context in [json!({}), json!({"a": true}), json!({"a": {"a": 1}})] {
                ask(&policies, "deploy", &context);
                let agent = Agent::new("bot").unwrap();
                let context = Context::from(context.as_object().unwrap().clone());
                let action = AnyAction::new("deploy").unwrap().with_context(context);
                let request = EvaluateRequest::new(agent, &action).unwrap();
                // A debug build may run out of stack here. Cedar notices, and the request is
                // denied.
                let _ = policies.explain(&request);
            }
            let _ = policies.lint();
        };
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn(whole).unwrap().join().unwrap();
    }
}

#[test]
fn what_nests_deeper_is_refused_at_its_place() {
    let why = format!("more than {MAX_DEPTH} brackets and chained operators in each other");
    for condition in conditions(MAX_DEPTH * 2) {
        let error = parse_error(&policy(&condition));
        assert!(
            error.starts_with("<policies>:3:") && error.contains(&why),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for condition in conditions(20_000) {
        assert!(parse_error(&policy(&condition)).contains(&why));
    }
    assert!(parse_error(&"(".repeat(500_000)).contains(&why));
    // A carriage return ends a comment.
    let hidden = policy(&format!(
        "// \r {}1{}",
        "(".repeat(5_000),
        ")".repeat(5_000)
    ));
    assert!(parse_error(&hidden).contains(&why));
}

#[test]
fn siblings_do_not_count_as_nesting() {
    let values = vec!["\"((((&&&&\""; 5_000].join(", ");
    let condition = format!(
        "// ((({}\n [{values}].contains(context.a)",
        "(".repeat(1_000)
    );
    let texts = vec![policy(&condition); 10].join("\n");
    assert_eq!(Policies::parse(&texts).unwrap().len(), 10);
    let error = parse_error(")))) permit (principal, action, resource);");
    assert!(
        error.starts_with("<policies>:1:1: unexpected token"),
        "{error}"
    );
}

#[test]
fn the_types_of_a_schema_nest_as_deeply() {
    let of = |kind: &str| {
        let schema = format!(
            "entity Agent; entity Resource;\naction deploy appliesTo {{ principal: Agent, resource: Resource,\n\
             context: {{ a?: {kind} }} }};"
        );
        let text = "permit (principal, action, resource);";
        let builder = Policies::builder().source("p.cedar", text);
        builder.schema("s.cedarschema", schema).build()
    };
    let set = |depth: usize| format!("{}Long{}", "Set<".repeat(depth), ">".repeat(depth));
    let record = |depth: usize| format!("{}Long{}", "{ a: ".repeat(depth), "}".repeat(depth));
    for (good, bad) in [
        (set(MAX_DEPTH / 2 - 2), set(MAX_DEPTH)),
        (record(MAX_DEPTH - 2), record(MAX_DEPTH)),
        (set(MAX_DEPTH / 2 - 2), set(100_000)),
    ] {
        let policies = of(&good).unwrap();
        ask(&policies, "deploy", &json!({}));
        let _ = policies.lint();
        let error = of(&bad).unwrap_err().to_string();
        assert!(
            error.starts_with("s.cedarschema:3:") && error.contains("in each other"),
            "{error}"
        );
    }
}
