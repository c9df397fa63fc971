//! Tests that the starter set of any server loads, and decides as its tests and comments say.

use std::path::Path;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority, Context};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_mcp::starter::Starter;
use futures_executor::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Writes the set to a folder, loads it, and decides each case of its tests.
fn check(starter: &Starter) -> usize {
    let folder = tempfile::tempdir().unwrap();
    for file in starter.files() {
        std::fs::write(folder.path().join(file.name), file.content).unwrap();
    }
    let authority = load(folder.path());
    let tests = std::fs::read_to_string(folder.path().join("tests.json")).unwrap();
    let tests: Value = serde_json::from_str(&tests).unwrap();
    let cases = tests["cases"].as_array().unwrap();
    for case in cases {
        let decision = decide(
            &authority,
            case["agent"].as_str().unwrap(),
            case["action"].as_str().unwrap(),
            &case["context"],
        );
        assert_eq!(decision, case["expect"].as_str().unwrap(), "{case}");
    }
    cases.len()
}

fn load(folder: &Path) -> LocalAuthority {
    LocalAuthority::in_memory(Policies::from_dir(folder).unwrap()).unwrap()
}

fn decide(authority: &LocalAuthority, agent: &str, action: &str, context: &Value) -> String {
    let context = Context::parse(&context.to_string()).unwrap();
    let action = AnyAction::new(action.to_owned())
        .unwrap()
        .with_context(context);
    let request = EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap();
    let evaluation = block_on(authority.evaluate(&request)).unwrap();
    evaluation.decision.to_string()
}

fn tool(name: &str, annotations: Value, schema: Value) -> Value {
    json!({"name": name, "description": "does\n} forbid", "annotations": annotations, "inputSchema": schema})
}

#[test]
fn tools_are_sorted_by_their_hints_and_a_missing_hint_is_the_worst() {
    let path =
        json!({"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}});
    let tools = [
        tool(
            "read",
            json!({"readOnlyHint": true, "destructiveHint": true}),
            path.clone(),
        ),
        tool(
            "write",
            json!({"readOnlyHint": false, "destructiveHint": false}),
            path.clone(),
        ),
        tool("silent", json!({}), path.clone()),
        tool("odd", json!({"readOnlyHint": "true"}), path),
    ];
    let starter = Starter::new("fs", &tools, &[]).unwrap();
    assert!(starter.warnings().is_empty());
    // Two for each tool, two for resources, and a completion.
    assert_eq!(check(&starter), 11);
    let text = &starter.files()[0].content;
    let held: Vec<_> = text.split("@id(\"fs-destroy-held\")").collect();
    assert!(
        held[1].contains("silent") && held[1].contains("mcp.fs.odd"),
        "{text}"
    );
    assert!(!held[1].contains("mcp.fs.write"), "{text}");
}

#[test]
fn what_has_no_type_is_named_and_a_call_with_it_is_denied() {
    let schema = json!({"type": "object", "required": ["any"], "properties": {
        "any": {}, "actors": {"type": "array", "items": {"type": "string"}}, "x": {"type": "string"},
    }});
    let tools = [tool("run", json!({"readOnlyHint": true}), schema)];
    let starter = Starter::new("s", &tools, &[]).unwrap();
    assert_eq!(
        starter.warnings(),
        [
            "`run`: the argument `any` has no type (its schema allows values of any type), so calls with it are denied",
            "`run`: the argument `actors` has no type (the key is reserved for the actors of a delegated token), so calls with it are denied",
        ]
    );
    assert_eq!(check(&starter), 3);
    let folder = tempfile::tempdir().unwrap();
    for file in starter.files() {
        std::fs::write(folder.path().join(file.name), file.content).unwrap();
    }
    let authority = load(folder.path());
    let run = |context: Value| decide(&authority, "reader-agent", "mcp.s.run", &context);
    assert_eq!(run(json!({"x": "a"})), "allow");
    assert_eq!(run(json!({"x": "a", "any": 1})), "deny");
}

#[test]
fn a_tool_that_requires_what_has_no_type_is_named_and_not_tested() {
    let schema = json!({
        "type": "object", "properties": {"x": {"enum": [0.123456]}}, "required": ["x", "y"],
        "allOf": [{"properties": {"z": {"type": "string"}}}],
    });
    let tools = [tool("run", json!({"readOnlyHint": true}), schema)];
    let starter = Starter::new("s", &tools, &[]).unwrap();
    assert_eq!(
        starter.warnings(),
        [
            "`run`: the argument `x` has no type (it is a number that no type of the policies holds), so calls with it are denied",
            "`run`: the argument `y` has no type (the tool requires it and does not declare it), so calls with it are denied",
            "`run`: the argument `z` has no type (it is declared beside the tool's own `properties`), so calls with it are denied",
        ]
    );
    // Two for resources, and a completion.
    assert_eq!(check(&starter), 3);
}

#[test]
fn a_completion_may_have_the_values_of_other_arguments_and_variables() {
    let tools = [tool("x", json!({}), json!({"type": "object"}))];
    let prompts = [json!({"name": "p", "arguments": [{"name": "language"}]})];
    let templates = [json!({"uriTemplate": "repo://{owner}/{+path*}"})];
    let starter = Starter::new("s", &tools, &prompts).unwrap();
    let starter = starter.with_resource_templates(&templates);
    check(&starter);
    let folder = tempfile::tempdir().unwrap();
    for file in starter.files() {
        std::fs::write(folder.path().join(file.name), file.content).unwrap();
    }
    let authority = load(folder.path());
    let complete = |known: Value| {
        let context = json!({
            "ref": {"type": "ref/resource", "uri": "repo://{owner}/{+path*}"},
            "argument": {"name": "path", "value": "a"}, "context": known,
        });
        let action = "mcp.s:completion/complete";
        decide(&authority, "reader-agent", action, &context)
    };
    for known in [
        Value::Null,
        json!({}),
        json!({"arguments": {}}),
        json!({"arguments": {"owner": "o", "path": "p", "language": "en"}}),
    ] {
        assert_eq!(complete(known.clone()), "allow", "{known}");
    }
    for unknown in [
        json!({"arguments": {"other": "o"}}),
        json!({"arguments": {"owner": 1}}),
        json!({"more": {}}),
    ] {
        assert_eq!(complete(unknown.clone()), "deny", "{unknown}");
    }
}

#[test]
fn a_server_without_usable_tools_gets_no_set() {
    let error = |tools: &[Value]| Starter::new("fs", tools, &[]).unwrap_err().to_string();
    assert_eq!(
        error(&[]),
        "the server lists no tools, so no policy can be written for them"
    );
    assert_eq!(error(&[json!({"inputSchema": {}})]), "a tool has no name");
    assert!(error(&[json!({"name": "x"})]).contains("`inputSchema`"));
    let named = Starter::new("a.b", &[tool("x", json!({}), json!({}))], &[]);
    assert!(named.is_err());
}

/// Returns a JSON Schema of some depth, valid or odd.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer", "minimum": 3})),
        Just(json!({"type": "number"})),
        Just(json!({"type": ["boolean", "null"]})),
        Just(json!({"enum": ["a", "b"]})),
        Just(json!({"const": 7})),
        Just(json!({"enum": [0.123456, 1e300, u64::MAX]})),
        any::<f64>().prop_map(|number| json!({"enum": [number]})),
        (any::<i64>(), 0..8).prop_map(|(n, scale)| json!({"const": n as f64 / 10f64.powi(scale)})),
        Just(json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})),
        Just(json!({"type": "object"})),
        Just(json!({})),
        Just(json!(false)),
        Just(json!({"$ref": "#/properties/0"})),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![
            "[a-z]{1,3}",
            Just("odd \"key\"\n//".to_owned()),
            any::<String>()
        ];
        let members = prop::collection::btree_map(key, (inner.clone(), any::<bool>()), 0..4);
        prop_oneof![
            inner
                .clone()
                .prop_map(|items| json!({"type": "array", "items": items, "minItems": 1})),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| json!({"anyOf": [one, other]})),
            (inner.clone(), inner).prop_map(|(one, other)| json!({"allOf": [one, other]})),
            members.prop_map(|members| {
                let required = members.iter().filter(|(_, (_, is_required))| *is_required);
                let required: Vec<_> = required.map(|(name, _)| name.clone()).collect();
                let properties = members
                    .into_iter()
                    .map(|(name, (schema, _))| (name, schema));
                let properties: serde_json::Map<_, _> = properties.collect();
                json!({"type": "object", "properties": properties, "required": required})
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_tools_make_a_set_that_loads_and_passes_its_tests(
        tools in prop::collection::vec(
            (any::<String>(), any::<String>(), schema(), schema(), any::<bool>()),
            1..5,
        ),
        prompt in any::<String>(),
        template in any::<String>(),
    ) {
        let tools: Vec<Value> = tools
            .into_iter()
            .enumerate()
            .map(|(place, (name, description, schema, part, is_read_only))| json!({
                "name": format!("t{name}"), "description": description,
                "annotations": {"readOnlyHint": is_read_only},
                "inputSchema": {
                    "type": "object", "properties": {place.to_string(): schema}, "allOf": [part],
                },
            }))
            .collect();
        let prompts = [json!({"name": "p", "arguments": [{"name": prompt}]})];
        let templates = [json!({"uriTemplate": format!("a://{{{template}}}")})];
        let starter = Starter::new("any", &tools, &prompts).unwrap();
        check(&starter.with_resource_templates(&templates));
    }
}
