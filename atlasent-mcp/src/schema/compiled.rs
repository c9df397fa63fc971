//! A tool whose schema is compiled, for the arguments of each caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::Requirement;
use super::document::Document;
use super::restrict::{Restricted, requirements};
use crate::operation::shown as cut;
use crate::tool::{Tool, ToolError};

/// How far a pattern of a schema may go back. A pattern that goes further refuses the arguments, so
/// that no server and no caller can keep a gate busy.
const BACKTRACK_LIMIT: usize = 10_000;

/// The most sets of requirements for which one tool keeps a compiled schema.
const MAX_VARIANTS: usize = 64;

/// A tool with the compiled schema of its arguments.
pub(crate) struct CompiledTool {
    tool: Tool,
    schema: Value,
    validator: Validator,
    requirements: BTreeSet<Requirement>,
    /// The tool as callers may use it, by the requirements that they meet.
    variants: Mutex<BTreeMap<BTreeSet<Requirement>, Arc<Variant>>>,
}

/// A tool, as the callers who meet the same requirements may use it.
#[derive(Debug)]
struct Variant {
    /// The schema that these callers see. `None` if they cannot call the tool with any arguments.
    shown: Option<Value>,
    /// The schemas that their arguments have to fit, beside the tool's own, or why these cannot be
    /// compiled.
    enforced: Result<[Validator; 2], String>,
}

/// Why arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentError {
    /// They do not fit the tool's schema.
    Invalid(String),
    /// They set a part that requires what the caller does not have.
    Restricted(String),
}

impl CompiledTool {
    /// Compiles the schema. No reference outside of the schema is resolved.
    pub(crate) fn new(tool: Tool) -> Result<Self, ToolError> {
        let error = |what: String| {
            let name = cut(tool.name());
            ToolError(format!("the `inputSchema` of the tool `{name}` {what}"))
        };
        let schema = Value::Object(tool.input_schema().clone());
        let requirements = requirements(&schema)
            .map_err(|keyword| error(format!("has a `{keyword}` that is not a string")))?;
        if Document::new(&schema).is_endless() {
            return Err(error("refers to itself endlessly".to_owned()));
        }
        let validator = compile(&schema).map_err(|why| error(format!("is unusable: {why}")))?;
        Ok(Self {
            tool,
            schema,
            validator,
            requirements,
            variants: Mutex::default(),
        })
    }

    pub(crate) fn tool(&self) -> &Tool {
        &self.tool
    }

    /// Returns what parts of the arguments require.
    pub(crate) fn requirements(&self) -> &BTreeSet<Requirement> {
        &self.requirements
    }

    /// Returns the schema that a caller sees who meets these requirements. Returns `None` if the
    /// caller cannot call the tool with any arguments.
    pub(crate) fn shown(&self, met: &BTreeSet<Requirement>) -> Option<Value> {
        self.variant(met).shown.clone()
    }

    /// Checks that arguments fit the tool's schema. The error names no field that is hidden from a
    /// caller who meets these requirements.
    pub(crate) fn check(
        &self,
        arguments: &Value,
        met: &BTreeSet<Requirement>,
    ) -> Result<(), ArgumentError> {
        let Err(error) = self.validator.validate(arguments) else {
            return Ok(());
        };
        let names_a_field = matches!(error.kind(), ValidationErrorKind::Required { .. });
        let restricted = match names_a_field && !self.requirements.is_subset(met) {
            true => self.fits(arguments, met).err(),
            false => None,
        };
        Err(ArgumentError::Invalid(
            restricted.unwrap_or_else(|| text(&error)),
        ))
    }

    /// Checks that arguments set no part whose requirement is not among those `met`.
    pub(crate) fn check_restricted(
        &self,
        arguments: &Value,
        met: &BTreeSet<Requirement>,
    ) -> Result<(), ArgumentError> {
        match self.requirements.is_subset(met) {
            true => Ok(()),
            false => self.fits(arguments, met).map_err(ArgumentError::Restricted),
        }
    }

    /// Checks that arguments fit the enforced schemas.
    fn fits(&self, arguments: &Value, met: &BTreeSet<Requirement>) -> Result<(), String> {
        let variant = self.variant(met);
        let mut validators = variant.enforced.as_ref().map_err(Clone::clone)?.iter();
        validators.try_for_each(|validator| {
            let valid = validator.validate(arguments);
            valid.map_err(|error| text(&error))
        })
    }

    fn variant(&self, met: &BTreeSet<Requirement>) -> Arc<Variant> {
        let met: BTreeSet<_> = self.requirements.intersection(met).cloned().collect();
        let mut known = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(variant) = known.get(&met) {
            return Arc::clone(variant);
        }
        let meets = |requirement: &Requirement| met.contains(requirement);
        let Restricted { shown, enforced } = Restricted::new(&self.schema, &meets);
        let [parts, overlay] = enforced;
        let enforced = compile(&parts).and_then(|parts| Ok([parts, compile(&overlay)?]));
        let variant = Arc::new(Variant {
            shown: shown.filter(|_| enforced.is_ok()),
            enforced,
        });
        if known.len() < MAX_VARIANTS {
            known.insert(met, Arc::clone(&variant));
        }
        variant
    }
}

impl fmt::Debug for CompiledTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledTool")
            .field("name", &self.tool.name())
            .finish_non_exhaustive()
    }
}

fn compile(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT);
    let options = jsonschema::options()
        .with_pattern_options(patterns)
        .offline();
    let compiled = options.build(schema);
    compiled.map_err(|error| cut(&error.masked().to_string()))
}

/// Returns where and why a value does not fit. The message names the place and quotes no value.
fn text(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let place = match &*place {
        "" => "the arguments".to_owned(),
        place => format!("the argument `{}`", cut(place.trim_start_matches('/'))),
    };
    let why = error.masked_with("the value").to_string();
    let why: String = why.chars().take(200).collect();
    format!("{place}: {why}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(schema: Value) -> CompiledTool {
        CompiledTool::new(Tool::new("t", schema).unwrap()).unwrap()
    }

    fn check(tool: &CompiledTool, arguments: Value) -> Result<(), ArgumentError> {
        tool.check(&arguments, &BTreeSet::new())
    }

    #[test]
    fn arguments_have_to_fit_and_the_error_names_the_place_and_no_value() {
        let tool = tool(json!({
            "type": "object",
            "properties": {"user": {"type": "object", "properties": {"age": {"type": "integer", "maximum": 150}}}},
            "required": ["user"],
            "additionalProperties": false,
        }));
        assert_eq!(check(&tool, json!({"user": {"age": 7}})), Ok(()));
        for (arguments, place) in [
            (json!({}), "the arguments"),
            (json!({"user": {"age": "hunter2"}}), "`user/age`"),
            (json!({"user": {"age": 4711}}), "`user/age`"),
            (json!({"user": {}, "more": 1}), "the arguments"),
        ] {
            let Err(ArgumentError::Invalid(why)) = check(&tool, arguments.clone()) else {
                panic!("{arguments} fits");
            };
            assert!(why.contains(place), "{why}");
            assert!(!why.contains("hunter2") && !why.contains("4711"), "{why}");
        }
    }

    #[test]
    fn nothing_outside_of_a_schema_is_read() {
        for reference in [
            "http://127.0.0.1:1/schema.json",
            "file:///etc/passwd",
            "other.json",
        ] {
            let schema = json!({"properties": {"a": {"$ref": reference}}});
            assert!(
                CompiledTool::new(Tool::new("t", schema).unwrap()).is_err(),
                "{reference}"
            );
        }
    }

    #[test]
    fn a_hidden_field_that_is_sent_anyway_does_not_fit() {
        let scope = Requirement::Scope("s".to_owned());
        let tool = tool(json!({"properties": {"force": {"x-atlasent-requires": "s"}}}));
        let nothing = BTreeSet::new();
        let sent = json!({"force": true});
        assert_eq!(check(&tool, sent.clone()), Ok(()));
        assert!(matches!(
            tool.check_restricted(&sent, &nothing),
            Err(ArgumentError::Restricted(_))
        ));
        assert_eq!(
            tool.check_restricted(&json!({"path": "a"}), &nothing),
            Ok(())
        );
        assert_eq!(
            tool.check_restricted(&sent, &BTreeSet::from([scope])),
            Ok(())
        );
    }

    #[test]
    fn no_error_names_a_required_field_that_is_hidden() {
        let tool = tool(json!({
            "properties": {
                "to": {"type": "string"},
                "user": {"properties": {"secret_role": {"x-atlasent-requires": "s"}}, "required": ["secret_role"]},
            },
            "required": ["to"],
        }));
        let Err(ArgumentError::Invalid(why)) = check(&tool, json!({})) else {
            panic!("`to` is required");
        };
        assert!(why.contains("to"), "{why}");
        let Err(ArgumentError::Invalid(why)) = check(&tool, json!({"to": "a", "user": {}})) else {
            panic!("`secret_role` is required");
        };
        assert!(
            why.contains("`user`") && !why.contains("secret_role"),
            "{why}"
        );
        let met = BTreeSet::from([Requirement::Scope("s".to_owned())]);
        let sent = json!({"to": "a", "user": {"secret_role": "x"}});
        assert_eq!(tool.check(&sent, &met), Ok(()));
        assert_eq!(tool.check_restricted(&sent, &met), Ok(()));
        assert!(tool.check_restricted(&sent, &BTreeSet::new()).is_err());
    }

    #[test]
    fn a_schema_without_an_end_is_unusable() {
        let tool = Tool::new("t", json!({"$ref": "#"})).unwrap();
        assert!(CompiledTool::new(tool).is_err());
    }

    #[test]
    fn a_pattern_that_goes_back_for_ever_refuses() {
        let tool = tool(json!({"properties": {"a": {"pattern": "^(?=(a+)+$)b"}}}));
        let started = std::time::Instant::now();
        assert!(check(&tool, json!({"a": format!("{}!", "a".repeat(64))})).is_err());
        assert!(started.elapsed().as_secs() < 2);
    }
}
