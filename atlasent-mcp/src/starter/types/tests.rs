//! Tests of the types of arguments.

use serde_json::json;

use super::*;

/// Returns the types of the arguments, and the reasons of those without one.
fn read(schema: Value) -> (Vec<String>, Vec<String>) {
    let (typed, untyped) = arguments(schema.as_object().unwrap());
    let typed = typed.iter().map(Attribute::text).collect();
    let untyped = untyped
        .iter()
        .map(|one| format!("{}: {}", one.name, one.why));
    (typed, untyped.collect())
}

#[test]
fn arguments_have_the_types_of_cedar() {
    let (typed, untyped) = read(json!({
        "type": "object",
        "required": ["path", "nullable", "when"],
        "properties": {
            "path": {"type": "string"},
            "head": {"type": "integer"},
            "ratio": {"type": "number"},
            "dry \"run\"": {"type": "boolean"},
            "paths": {"type": "array", "items": {"type": "string"}},
            "mode": {"enum": ["fast", "slow"]},
            "nullable": {"type": ["string", "null"]},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "either": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            "edits": {"type": "array", "items": {"$ref": "#/$defs/edit"}},
            "when": {"allOf": [{"$ref": "#/$defs/edit"}]},
        },
        "$defs": {"edit": {"type": "object", "required": ["old"], "properties": {
            "new": {"type": "string"}, "old": {"type": "string"},
        }}},
    }));
    assert_eq!(untyped, [""; 0]);
    let expected = [
        r#""dry \"run\""?: Bool"#,
        r#""edits"?: Set<{ "new"?: String, "old": String }>"#,
        r#""either"?: decimal"#,
        r#""head"?: Long"#,
        r#""maybe"?: Long"#,
        r#""mode"?: String"#,
        r#""nullable"?: String"#,
        r#""path": String"#,
        r#""paths"?: Set<String>"#,
        r#""ratio"?: decimal"#,
        r#""when": { "new"?: String, "old": String }"#,
    ];
    assert_eq!(typed.len(), expected.len());
    for line in expected {
        assert!(typed.iter().any(|one| one == line), "{line} {typed:?}");
    }
}

#[test]
fn a_short_schema_of_a_huge_type_is_given_up_soon() {
    let mut parts = Map::new();
    for level in 0..6 {
        let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
        let fields = (0..50).map(|field| (format!("f{field}"), next.clone()));
        let fields: Map<String, Value> = fields.collect();
        let part = json!({"type": "object", "properties": fields});
        parts.insert(level.to_string(), part);
    }
    parts.insert("6".to_owned(), json!({"type": "string"}));
    let (typed, untyped) = read(json!({
        "properties": {"huge": {"$ref": "#/$defs/0"}, "path": {"type": "string"}},
        "$defs": parts,
    }));
    assert_eq!(typed, [r#""path"?: String"#]);
    assert_eq!(untyped, ["huge: its schema has too many parts"]);
}

#[test]
fn a_short_schema_of_countless_parts_is_given_up_soon() {
    let mut parts = Map::new();
    for level in 0..6 {
        let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
        parts.insert(level.to_string(), json!({"allOf": vec![next; 50]}));
    }
    let fields = (0..500).map(|field| (format!("f{field}"), json!({})));
    let fields: Map<String, Value> = fields.collect();
    parts.insert("6".to_owned(), json!({"properties": fields}));
    let (typed, _) = read(json!({
        "properties": {"path": {"type": "string"}},
        "$ref": "#/$defs/0",
        "$defs": parts,
    }));
    assert_eq!(typed, [r#""path"?: String"#]);
}

#[test]
fn an_argument_without_a_type_says_why() {
    for (schema, why) in [
        (json!(true), "its schema allows any value"),
        (json!({}), "its schema allows values of any type"),
        (
            json!({"type": "object"}),
            "its schema allows objects with any keys",
        ),
        (json!({"type": "array"}), "its items have no schema"),
        (
            json!({"type": "array", "items": {"type": ["null", "string"]}}),
            "its items can be null",
        ),
        (
            json!({"type": ["string", "integer"]}),
            "it can have values of several types",
        ),
        (
            json!({"enum": ["a", 1]}),
            "it can have values of several types",
        ),
        (
            json!({"enum": [[1]]}),
            "it is one of several arrays or objects",
        ),
        (json!({"type": "null"}), "it can only be null"),
        (json!({"type": "blob"}), "its type is unknown"),
        (
            json!({"$ref": "https://example.com/x"}),
            "its schema refers to another document",
        ),
        (
            json!({"$ref": "#/$defs/nothing"}),
            "its schema refers to another document",
        ),
        (
            json!({"$ref": "#/$defs/tree"}),
            "its schema contains itself, or nests too deep",
        ),
    ] {
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}});
        let (typed, untyped) = read(json!({
            "properties": {"x": schema}, "$defs": {"tree": tree},
        }));
        assert_eq!((typed.len(), untyped), (0, vec![format!("x: {why}")]));
    }
}

/// Returns the types of an argument `x` and the reason if it has none. The schema may refer to
/// `edit`, an object.
fn read_one(schema: &Value) -> (Vec<String>, Vec<String>) {
    read(json!({
        "properties": {"x": schema},
        "$defs": {"edit": {
            "type": "object", "required": ["old"], "properties": {"old": {"type": "string"}},
        }},
    }))
}

#[test]
fn a_type_counts_whatever_narrows_it() {
    let edit = r#"{ "old": String }"#;
    for (schema, expected) in [
        (
            json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
            "String",
        ),
        (
            json!({"type": ["integer", "null"], "oneOf": [{"minimum": 1}, {"maximum": -1}]}),
            "Long",
        ),
        (json!({"const": "a", "allOf": [{"minLength": 1}]}), "String"),
        (json!({"enum": [1, 2], "anyOf": [{}, true]}), "Long"),
        (
            json!({
                "properties": {"old": {"type": "string"}}, "required": ["old"],
                "anyOf": [{"required": ["old"]}, {"properties": {"old": {"minLength": 1}}}],
            }),
            edit,
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "allOf": [{"minItems": 1}]}),
            "Set<String>",
        ),
        // The type itself does not name the members or the items.
        (
            json!({"type": "object", "allOf": [{"$ref": "#/$defs/edit"}, {"minProperties": 1}]}),
            edit,
        ),
        (
            json!({"type": "array", "allOf": [{"items": {"type": "string"}, "type": "array"}]}),
            "Set<String>",
        ),
        // What names no type is skipped.
        (
            json!({"allOf": [{"description": "x"}, {"type": "boolean"}, true, {"anyOf": [{}]}]}),
            "Bool",
        ),
        (
            json!({
                "anyOf": [{"required": ["old"]}, {"minProperties": 1}],
                "allOf": [{"$ref": "#/$defs/edit"}],
            }),
            edit,
        ),
    ] {
        let (typed, untyped) = read_one(&schema);
        assert_eq!(untyped, [""; 0], "{schema}");
        assert_eq!(typed, [format!("\"x\"?: {expected}")], "{schema}");
    }
}

#[test]
fn schemas_that_do_not_agree_on_a_type_have_none() {
    let text = json!({"type": "string"});
    for (schema, why) in [
        (
            json!({"anyOf": [text, {"minLength": 1}]}),
            "its schema allows values of any type",
        ),
        (
            json!({"allOf": [{}, {"minLength": 1}]}),
            "its schema allows values of any type",
        ),
        (
            json!({"allOf": [text, {"type": "integer"}]}),
            "it can have values of several types",
        ),
        (
            json!({"anyOf": [text], "allOf": [{"type": "integer"}]}),
            "it can have values of several types",
        ),
        (
            json!({"properties": {"a": text}, "allOf": [{"properties": {"b": text}}]}),
            "its schema has keys beside its `properties`",
        ),
        (
            json!({"properties": {"a": text}, "required": ["a", "b"]}),
            "its schema has keys beside its `properties`",
        ),
    ] {
        let (typed, untyped) = read_one(&schema);
        assert_eq!(
            (typed.len(), untyped),
            (0, vec![format!("x: {why}")]),
            "{schema}"
        );
    }
}

#[test]
fn a_listed_number_has_the_type_that_holds_it() {
    for (schema, expected) in [
        (json!({"enum": [1, -2]}), "Long"),
        (json!({"const": i64::MAX}), "Long"),
        (json!({"const": 2.0}), "Long"),
        (json!({"const": 1e18}), "Long"),
        (json!({"const": 19.9999}), "decimal"),
        (json!({"enum": [-0.5, 2]}), "decimal"),
        (json!({"enum": [7, 0.25, null]}), "decimal"),
    ] {
        let (typed, untyped) = read_one(&schema);
        assert_eq!(untyped, [""; 0], "{schema}");
        assert_eq!(typed, [format!("\"x\"?: {expected}")], "{schema}");
    }
}

#[test]
fn a_listed_number_that_no_type_holds_leaves_its_argument_without_one() {
    for schema in [
        json!({"enum": [0.123456]}),
        json!({"enum": [0.5, 0.00001]}),
        json!({"const": 1e300}),
        json!({"const": -1.5e-7}),
        json!({"type": "integer", "const": u64::MAX}),
        // A decimal has fewer digits before its point than a long.
        json!({"enum": [i64::MAX, 0.5]}),
        json!({"type": "number", "minimum": 1_000_000_000_000_000_i64}),
        json!({"type": "array", "items": {"enum": [0.123456]}}),
    ] {
        let why = "x: it is a number that no type of the policies holds";
        assert_eq!(
            read_one(&schema),
            (vec![], vec![why.to_owned()]),
            "{schema}"
        );
    }
}

#[test]
fn an_argument_beside_the_tool_s_own_properties_is_named() {
    let schema = json!({
        "required": ["path", "unknown"],
        "properties": {"path": {"type": "string"}},
        "$ref": "#/$defs/more",
        "anyOf": [
            {"properties": {"a": {"type": "string"}, "path": {"minLength": 1}}},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ],
        "allOf": [{"oneOf": [{"properties": {"c": {"type": "string"}}}]}, {"required": ["path"]}],
        // It contains itself.
        "$defs": {"more": {
            "$ref": "#/$defs/more", "properties": {"d": {"type": "string"}}, "required": ["d"],
        }},
    });
    let (_, undeclared) = arguments(schema.as_object().unwrap());
    let required = undeclared.iter().filter(|one| one.is_required);
    let required: Vec<_> = required.map(|one| one.name.as_str()).collect();
    assert_eq!(required, ["d", "unknown"]);
    let (typed, untyped) = read(schema);
    assert_eq!(typed, [r#""path": String"#]);
    let beside = ["a", "b", "c", "d"]
        .map(|name| format!("{name}: it is declared beside the tool's own `properties`"));
    let unknown = "unknown: the tool requires it and does not declare it".to_owned();
    assert_eq!(untyped, [&beside[..], &[unknown]].concat());
}
