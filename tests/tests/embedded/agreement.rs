//! Tests that the embedded authority decides as Cedar does on the same text, except that a policy
//! that fails to evaluate denies the request.

use std::cell::Cell;
use std::str::FromStr;

use atlasent::{AnyAction, AuthorityExt, Context, Decision, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::{Driven, Ran, drive};
use cedar_policy::{Authorizer, Entities, EntityId, EntityTypeName, EntityUid, PolicySet, Request};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::now;

/// Agents and resources with parents, with and without attributes, and actions in a group.
const ENTITIES: &str = r#"[
    { "uid": { "type": "Agent", "id": "ann" }, "attrs": { "level": 7 },
      "parents": [{ "type": "Group", "id": "ops" }] },
    { "uid": { "type": "Agent", "id": "bob" }, "attrs": { "level": "high" },
      "parents": [{ "type": "Group", "id": "ops" }] },
    { "uid": { "type": "Resource", "id": "r1" }, "attrs": {},
      "parents": [{ "type": "Folder", "id": "f" }] },
    { "uid": { "type": "Action", "id": "deploy" }, "attrs": {},
      "parents": [{ "type": "Action", "id": "write" }] },
    { "uid": { "type": "Action", "id": "drop" }, "attrs": {},
      "parents": [{ "type": "Action", "id": "write" }] }
]"#;

const AGENTS: [&str; 3] = ["ann", "bob", "eve"];
const ACTIONS: [&str; 4] = ["deploy", "drop", "read", "write"];
const RESOURCES: [Option<&str>; 3] = [None, Some("r1"), Some("r2")];

fn policy() -> impl Strategy<Value = String> {
    let effect = select(vec!["permit", "permit", "permit", "forbid"]);
    let principal = select(vec![
        "principal",
        "principal",
        r#"principal == Agent::"ann""#,
        r#"principal == Agent::"eve""#,
        r#"principal in Group::"ops""#,
        "principal is Agent",
        r#"principal is Agent in Group::"ops""#,
    ]);
    let action = select(vec![
        "action",
        "action",
        r#"action == Action::"deploy""#,
        r#"action == Action::"read""#,
        r#"action in Action::"write""#,
        r#"action in [Action::"drop", Action::"read"]"#,
        r#"action in [Action::"write", Action::"deploy"]"#,
    ]);
    let resource = select(vec![
        "resource",
        "resource",
        r#"resource == Resource::"r1""#,
        r#"resource == Resource::"default""#,
        r#"resource in Folder::"f""#,
        "resource is Resource",
    ]);
    let condition = prop_oneof![
        3 => Just(String::new()),
        2 => condition(),
        1 => (condition(), condition()).prop_map(|(a, b)| a + &b),
    ];
    (effect, principal, action, resource, condition).prop_map(
        |(effect, principal, action, resource, condition)| {
            format!("{effect} ({principal}, {action}, {resource}){condition};\n")
        },
    )
}

fn condition() -> impl Strategy<Value = String> {
    let word = select(vec!["when", "unless"]);
    let expression = select(vec![
        "true",
        "false",
        "context.amount > 5",
        "context has amount && context.amount > 5",
        r#"context.environment == "production""#,
        r#"context has environment && context.environment like "prod*""#,
        "context.approved",
        r#"context.tags.contains("a")"#,
        r#"context has tags && context.tags.containsAny(["a", "b"])"#,
        "context.nested.depth == 1",
        r#"context has nested.depth && context.nested.depth == 1"#,
        "principal has level && principal.level == 7",
        "principal.level > 5",
        r#"principal in Group::"ops" || context.approved"#,
        r#"resource == Resource::"default""#,
        r#"if context has approved then context.approved else false"#,
    ]);
    (word, expression).prop_map(|(word, expression)| format!("\n  {word} {{ {expression} }}"))
}

/// A request: agent, action, resource, context.
type Question = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Map<String, Value>,
);

fn question() -> impl Strategy<Value = Question> {
    let fields = vec![
        ("amount", json!(3)),
        ("amount", json!(9)),
        ("amount", json!("9")),
        ("environment", json!("production")),
        ("environment", json!("staging")),
        ("approved", json!(true)),
        ("approved", json!(false)),
        ("approved", json!("yes")),
        ("tags", json!(["a", "c"])),
        ("tags", json!(["d"])),
        ("nested", json!({ "depth": 1 })),
        ("nested", json!({ "deep": 1 })),
    ];
    let context = subsequence(fields, 0..=12).prop_map(|fields| {
        let fields = fields.into_iter().map(|(key, value)| (key.into(), value));
        fields.collect::<Map<String, Value>>()
    });
    let agent = select(&AGENTS[..]);
    let action = select(&ACTIONS[..]);
    (agent, action, select(&RESOURCES[..]), context)
}

/// The answer of Cedar, over all policies.
#[derive(Debug, PartialEq)]
enum Answer {
    Allow(Vec<String>),
    Deny(Vec<String>),
    Error,
}

struct Direct {
    policies: PolicySet,
    entities: Entities,
}

impl Direct {
    fn answer(&self, (agent, action, resource, context): &Question) -> Answer {
        let uid = |kind: &str, id: &str| {
            EntityUid::from_type_name_and_id(
                EntityTypeName::from_str(kind).unwrap(),
                EntityId::new(id),
            )
        };
        let context = Value::Object(context.clone());
        let request = Request::new(
            uid("Agent", agent),
            uid("Action", action),
            uid("Resource", resource.unwrap_or("default")),
            cedar_policy::Context::from_json_value(context, None).unwrap(),
            None,
        )
        .unwrap();
        let response = Authorizer::new().is_authorized(&request, &self.policies, &self.entities);
        if response.diagnostics().errors().next().is_some() {
            return Answer::Error;
        }
        let mut reasons: Vec<String> = response
            .diagnostics()
            .reason()
            // Cedar counts from 0, and the authority from 1.
            .map(|id| {
                let id = id.to_string();
                let number: usize = id.trim_start_matches("policy").parse().unwrap();
                format!("<policies>#{}", number + 1)
            })
            .collect();
        reasons.sort();
        match response.decision() {
            cedar_policy::Decision::Allow => Answer::Allow(reasons),
            cedar_policy::Decision::Deny => Answer::Deny(reasons),
        }
    }
}

/// Returns the result of a protected body in the same form.
fn happened(authority: &LocalAuthority, question: &Question) -> Answer {
    let (agent, action, resource, context) = question;
    let mut request = AnyAction::new(*action).unwrap();
    if let Some(resource) = resource {
        request = request.with_resource(*resource);
    }
    let request = request.with_context(Context::from(context.clone()));
    let ran = Ran::new();
    let call = authority.with_permit(*agent, request, async |permit| {
        assert_eq!(permit.agent().as_str(), *agent);
        ran.hit();
        Ok::<_, Error>(())
    });
    let result = match drive(call, 1) {
        Driven::Done(result) => result,
        other => panic!("{other:?}"),
    };

    // The newest decision, with the policies that determined it.
    let events = now(authority.trail()).events;
    let decided = events
        .iter()
        .rfind(|event| event.envelope.kind.starts_with("evaluate."))
        .unwrap();
    let policies = decided.payload.get("policies").unwrap();
    let mut policies: Vec<String> = serde_json::from_str(policies.get()).unwrap();
    policies.sort();

    let kind = &*decided.envelope.kind;
    match result {
        Ok(()) => {
            assert_eq!((ran.count(), kind), (1, "evaluate.allow"));
            Answer::Allow(policies)
        }
        Err(error) => {
            assert_eq!((ran.count(), kind), (0, "evaluate.deny"));
            let denied = error.denied().unwrap();
            assert_eq!(denied.decision(), Decision::Deny);
            if denied.code() == Some("POLICY_EVALUATION_ERROR") {
                return Answer::Error;
            }
            Answer::Deny(policies)
        }
    }
}

#[test]
fn the_authority_decides_as_cedar_does_and_denies_on_any_error() {
    let counts = [const { Cell::new(0_u32) }; 3];
    let mut runner = TestRunner::new(Config {
        cases: 192,
        failure_persistence: None,
        ..Config::default()
    });
    let policies = prop::collection::vec(policy(), 1..8);
    let questions = prop::collection::vec(question(), 12);
    let result = runner.run(&(policies, questions), |(policies, questions)| {
        let text = policies.concat();
        let direct = Direct {
            policies: text.parse().unwrap(),
            entities: Entities::from_json_str(ENTITIES, None).unwrap(),
        };
        let policies = Policies::builder()
            .source("<policies>", &*text)
            .entities("entities.json", ENTITIES)
            .build()
            .unwrap();
        let authority = LocalAuthority::in_memory(policies).unwrap();
        for question in &questions {
            let expected = direct.answer(question);
            let kind = &counts[match expected {
                Answer::Allow(_) => 0,
                Answer::Deny(_) => 1,
                Answer::Error => 2,
            }];
            kind.set(kind.get() + 1);
            prop_assert_eq!(
                happened(&authority, question),
                expected,
                "{:?} asked of\n{}",
                question,
                text
            );
        }
        prop_assert!(now(authority.trail()).verify().is_intact());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let counts = counts.map(Cell::into_inner);
    println!("allowed, denied, in error: {counts:?}");
    assert!(
        counts.iter().all(|count| *count > 150),
        "one-sided: {counts:?}"
    );
}
