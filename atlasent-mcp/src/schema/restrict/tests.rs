//! Schemas for callers who do not meet a requirement.

use serde_json::json;

use super::*;

const NOTHING: Meets<'_> = &|_| false;

fn shown(schema: &Value, meets: Meets<'_>) -> Value {
    Restricted::new(schema, meets).shown.unwrap()
}

fn enforced(schema: &Value, meets: Meets<'_>) -> Value {
    let [enforced, _] = Restricted::new(schema, meets).enforced;
    enforced
}

/// Whether arguments of a caller without any scope fit.
fn fits(schema: &Value, arguments: &Value) -> bool {
    let restricted = Restricted::new(schema, NOTHING);
    let mut schemas = restricted.enforced.iter().chain([schema]);
    schemas.all(|schema| {
        jsonschema::validator_for(schema)
            .unwrap()
            .is_valid(arguments)
    })
}

#[test]
fn a_hidden_field_is_left_out_when_shown_and_false_when_enforced() {
    let schema = json!({
        "properties": {
            "path": {"type": "string"},
            "force": {"type": "boolean", "x-atlasent-requires": "a"},
            "deep": {"type": "array", "items": {"properties": {"x": {"x-atlasent-requires-action": "b"}}}},
        },
        "required": ["path"],
    });
    assert_eq!(
        shown(&schema, NOTHING),
        json!({
            "properties": {"path": {"type": "string"}, "deep": {"type": "array", "items": {"properties": {}}}},
            "required": ["path"],
        })
    );
    let enforced = enforced(&schema, NOTHING);
    assert_eq!(enforced["properties"]["force"], false);
    assert_eq!(
        enforced["properties"]["deep"]["items"]["properties"]["x"],
        false
    );
    let all = requirements(&schema).unwrap();
    assert_eq!(all.len(), 2);
    let shown = shown(&schema, &|requirement| {
        *requirement == Requirement::Scope("a".to_owned())
    });
    assert_eq!(shown["properties"]["force"], json!({"type": "boolean"}));
}

#[test]
fn a_hidden_variant_is_gone() {
    let schema =
        json!({"oneOf": [{"const": "copy"}, {"const": "move", "x-atlasent-requires": "a"}]});
    assert_eq!(
        shown(&schema, NOTHING),
        json!({"oneOf": [{"const": "copy"}]})
    );
    let referred = json!({
        "properties": {"mode": {"$ref": "#/$defs/Mode"}},
        "$defs": {"Mode": {"enum": ["a"], "x-atlasent-requires": "a"}},
    });
    assert_eq!(
        shown(&referred, NOTHING),
        json!({"properties": {}, "$defs": {}})
    );
    assert_eq!(
        enforced(&schema, NOTHING),
        json!({"oneOf": [{"const": "copy"}, false]})
    );
}

#[test]
fn a_field_that_one_branch_hides_is_refused_whichever_branch_applies() {
    let force = json!({"properties": {"force": {"x-atlasent-requires": "a"}, "path": {}}});
    let deep =
        json!({"properties": {"user": {"properties": {"force": {"x-atlasent-requires": "a"}}}}});
    let applies = json!({"properties": {"mode": {"const": "x"}}, "required": ["mode"]});
    let branches: &[&dyn Fn(&Value) -> Value] = &[
        &|part| json!({"anyOf": [part, {"type": "object"}]}),
        &|part| json!({"oneOf": [{"type": "array"}, {"anyOf": [{"type": "object"}, part]}]}),
        &|part| json!({"allOf": [{"anyOf": [true, part]}]}),
        &|part| json!({"if": applies, "then": part}),
        &|part| json!({"if": applies, "else": part}),
        &|part| json!({"dependentSchemas": {"mode": part}}),
        &|part| json!({"anyOf": [{"$ref": "#/$defs/A"}, true], "$defs": {"A": part}}),
        &|part| json!({"anyOf": [{"$ref": "#/%24defs/A"}, true], "$defs": {"A": part}}),
        &|part| json!({"anyOf": [{"$ref": "#a"}, true], "$defs": {"A": {"$anchor": "a", "allOf": [part]}}}),
        &|part| json!({"anyOf": [{"$dynamicRef": "#a"}, true], "$defs": {"A": {"$dynamicAnchor": "a", "allOf": [part]}}}),
    ];
    for branch in branches {
        for mode in ["x", "y"] {
            let schema = branch(&force);
            assert!(
                !fits(&schema, &json!({"force": 1, "mode": mode})),
                "{schema}"
            );
            assert!(fits(&schema, &json!({"path": 1, "mode": mode})), "{schema}");
            let schema = branch(&deep);
            assert!(
                !fits(&schema, &json!({"user": {"force": 1}, "mode": mode})),
                "{schema}"
            );
            assert!(
                fits(&schema, &json!({"user": {"path": 1}, "mode": mode})),
                "{schema}"
            );
        }
    }
}

#[test]
fn a_field_that_another_branch_declares_open_is_not_hidden() {
    let declared = json!({"anyOf": [
        {"properties": {"force": {"x-atlasent-requires": "a"}}}, {"properties": {"force": {}}},
    ]});
    assert!(fits(&declared, &json!({"force": true})));
    let variants = json!({"oneOf": [
        {"properties": {"kind": {"const": "copy"}, "path": {}}, "required": ["kind"]},
        {"properties": {"kind": {"const": "move"}, "path": {}, "to": {}}, "required": ["kind"], "x-atlasent-requires": "a"},
    ]});
    assert!(fits(&variants, &json!({"kind": "copy", "path": "p"})));
    assert!(!fits(&variants, &json!({"kind": "move", "path": "p"})));
    assert!(!fits(&variants, &json!({"kind": "copy", "to": "p"})));
}

#[test]
fn parts_of_every_kind_are_hidden_in_a_branch() {
    for (part, refused, accepted) in [
        (
            json!({"patternProperties": {"^x-": {"x-atlasent-requires": "a"}}}),
            json!({"x-a": 1}),
            json!({"y": 1}),
        ),
        (
            json!({"properties": {"a": {}}, "additionalProperties": {"x-atlasent-requires": "a"}}),
            json!({"b": 1}),
            json!({"a": 1}),
        ),
        (
            json!({"properties": {"a": {}}, "unevaluatedProperties": {"properties": {"b": {"x-atlasent-requires": "a"}}}}),
            json!({"c": {"b": 1}}),
            json!({"c": {"d": 1}}),
        ),
        (
            json!({"properties": {"l": {"items": {"properties": {"b": {"x-atlasent-requires": "a"}}}}}}),
            json!({"l": [{}, {"b": 1}]}),
            json!({"l": [{"c": 1}]}),
        ),
        (
            json!({"properties": {"l": {"prefixItems": [{}, {"x-atlasent-requires": "a"}]}}}),
            json!({"l": [1, 2]}),
            json!({"l": [1]}),
        ),
    ] {
        for schema in [part.clone(), json!({"anyOf": [part, {"type": "object"}]})] {
            assert!(!fits(&schema, &refused), "{schema}: {refused}");
            assert!(fits(&schema, &accepted), "{schema}: {accepted}");
        }
    }
}

#[test]
fn a_requirement_in_a_place_that_cannot_be_left_out_hides_the_schema_around_it() {
    let part = json!({"properties": {"force": {"x-atlasent-requires": "a"}}});
    for schema in [
        json!({"not": part}),
        json!({"if": part, "then": {}}),
        json!({"properties": {"l": {"contains": part}}, "required": ["l"]}),
        json!({"propertyNames": {"x-atlasent-requires": "a"}}),
        json!({"x-more": {"deep": [part]}}),
        json!({"not": {"$ref": "#/$defs/A"}, "$defs": {"A": part}}),
        json!({"$ref": "#nowhere", "properties": {"force": {"x-atlasent-requires": "a"}}}),
        json!({"$ref": "https://x/y", "properties": {"force": {"x-atlasent-requires": "a"}}}),
        json!({"allOf": [{"type": "object", "x-atlasent-requires": "a"}]}),
        json!({"anyOf": [{"x-atlasent-requires": "a"}, {"x-atlasent-requires": "b"}]}),
    ] {
        let restricted = Restricted::new(&schema, NOTHING);
        assert_eq!(restricted.shown, None, "{schema}");
        assert_eq!(restricted.enforced[0], false, "{schema}");
        let all = Restricted::new(&schema, &|_| true).shown;
        let is_resolved =
            !schema.to_string().contains("nowhere") && !schema.to_string().contains("https");
        assert_eq!(all.is_some(), is_resolved, "{schema}");
    }
}

#[test]
fn a_schema_that_requires_a_hidden_field_is_hidden_itself() {
    let force = json!({"x-atlasent-requires": "a"});
    for schema in [
        json!({"properties": {"force": force}, "required": ["force"]}),
        json!({"allOf": [{"properties": {"force": force}}], "required": ["force"]}),
        json!({"properties": {"force": force}, "allOf": [{"required": ["force"]}]}),
        json!({"anyOf": [{"properties": {"force": force}}], "required": ["force"]}),
        json!({"properties": {"user": {"properties": {"force": force}, "required": ["force"]}}, "required": ["user"]}),
    ] {
        assert_eq!(Restricted::new(&schema, NOTHING).shown, None, "{schema}");
    }
    let schema = json!({
        "properties": {
            "path": {}, "force": force,
            "user": {"properties": {"force": force}, "required": ["force"]},
        },
        "required": ["path"],
        "anyOf": [{"required": ["force"]}, {"required": ["path"]}],
    });
    let shown = json!({
        "properties": {"path": {}}, "required": ["path"], "anyOf": [{"required": ["path"]}],
    });
    assert_eq!(Restricted::new(&schema, NOTHING).shown, Some(shown));
    assert!(fits(&schema, &json!({"path": 1})));
    assert!(!fits(&schema, &json!({"path": 1, "user": {}})));
}

#[test]
fn a_schema_that_contains_itself_is_followed_to_any_depth_and_ends() {
    let node = json!({
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}, {"type": "object"}]},
            "force": {"x-atlasent-requires": "a"},
        }}},
    });
    let nested = |inner: Value| (0..20).fold(inner, |inner, _| json!({"next": inner}));
    assert!(fits(&node, &nested(json!({"next": null}))));
    assert!(!fits(&node, &nested(json!({"force": 1}))));
    assert_eq!(
        shown(&node, NOTHING)["$defs"]["Node"]["properties"].get("force"),
        None
    );
}

#[test]
fn a_schema_that_needs_too_many_steps_is_hidden_as_a_whole() {
    let itself: Vec<Value> = (0..30).map(|_| json!({"$ref": "#"})).collect();
    let wide: Vec<Value> = (0..2_000)
        .map(|n| json!({"properties": {format!("f{n}"): {"x-atlasent-requires": "a"}, "next": {"$ref": "#"}}}))
        .collect();
    let chain: Map<String, Value> = (0..2_000)
        .map(|n| {
            (
                format!("d{n}"),
                json!({"anyOf": [{"$ref": format!("#/$defs/d{}", n + 1)}, {"$ref": "#/$defs/d0"}]}),
            )
        })
        .chain([("d2000".to_owned(), json!({"x-atlasent-requires": "a"}))])
        .collect();
    for schema in [
        json!({"allOf": itself, "properties": {"force": {"x-atlasent-requires": "a"}}}),
        json!({"anyOf": wide}),
        json!({"$ref": "#/$defs/d0", "$defs": chain}),
    ] {
        let started = std::time::Instant::now();
        let restricted = Restricted::new(&schema, NOTHING);
        assert!(started.elapsed().as_secs() < 20);
        assert!(
            restricted
                .enforced
                .iter()
                .any(|one| one.to_string().contains("false"))
        );
    }
}

#[test]
fn a_requirement_that_is_not_a_string_is_an_error() {
    for value in [json!(7), json!(""), json!(["a"]), json!(null)] {
        assert!(
            requirements(&json!({"properties": {"a": {"x-atlasent-requires": value}}})).is_err()
        );
    }
}
