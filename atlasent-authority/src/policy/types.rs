//! The types that a schema declares for the context of each action.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use cedar_policy::EntityTypeName;
use serde_json::{Map, Value};

/// The type of one attribute.
#[derive(Clone, Debug)]
pub(super) enum Type {
    Bool,
    Long,
    String,
    Decimal,
    Ipaddr,
    Datetime,
    Duration,
    Set(Arc<Type>),
    Record(Record),
    /// An entity, with the allowed ids where the schema lists them.
    Entity(EntityTypeName, Option<Arc<BTreeSet<String>>>),
}

/// The type of a record, which all of its uses share.
pub(super) type Record = Arc<RecordType>;

/// The attributes of a record, by name.
#[derive(Debug, Default)]
pub(super) struct RecordType {
    /// The name of the common type that is declared as this record.
    pub(super) name: Option<String>,
    attributes: BTreeMap<String, Attribute>,
}

impl Deref for RecordType {
    type Target = BTreeMap<String, Attribute>;

    fn deref(&self) -> &Self::Target {
        &self.attributes
    }
}

/// One attribute of a record.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) kind: Type,
    pub(super) is_required: bool,
    pub(super) annotations: Annotations,
}

/// The annotations of an action or an attribute: texts by name.
pub(super) type Annotations = BTreeMap<String, String>;

/// An action that requests can name.
#[derive(Debug)]
pub(super) struct DeclaredAction {
    /// The type of its context.
    pub(super) context: Record,
    pub(super) annotations: Annotations,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("Bool"),
            Self::Long => f.write_str("Long"),
            Self::String => f.write_str("String"),
            Self::Decimal => f.write_str("decimal"),
            Self::Ipaddr => f.write_str("ipaddr"),
            Self::Datetime => f.write_str("datetime"),
            Self::Duration => f.write_str("duration"),
            Self::Set(element) => write!(f, "Set<{element}>"),
            Self::Record(_) => f.write_str("a record"),
            Self::Entity(name, _) => write!(f, "{name}"),
        }
    }
}

/// The type of the context of each action that requests can name.
#[derive(Debug, Default)]
pub(super) struct ContextTypes {
    actions: BTreeMap<String, DeclaredAction>,
    /// The entity types whose ids the schema lists, with the ids.
    listed: BTreeMap<String, Arc<BTreeSet<String>>>,
}

impl ContextTypes {
    /// Reads the types from a valid schema in Cedar's syntax.
    ///
    /// Cedar's [`Schema`](cedar_policy::Schema) does not expose the types of a context; its JSON
    /// form does.
    pub(super) fn parse(schema: &str) -> Result<Self, String> {
        let (json, _) = cedar_policy::schema_str_to_json_with_resolved_types(schema)
            .map_err(|error| error.to_string())?;
        let mut resolver = Resolver {
            schema: &json,
            resolved: HashMap::new(),
        };
        // Requests name their actions without a namespace.
        let actions = json.pointer("//actions").and_then(Value::as_object);
        let applicable = actions.into_iter().flatten().filter_map(|(name, action)| {
            let applies_to = action.get("appliesTo")?;
            // An action that only groups others applies to nothing.
            let applies = |key: &str| applies_to.get(key)?.as_array().filter(|t| !t.is_empty());
            applies("principalTypes").and(applies("resourceTypes"))?;
            Some((name, action, applies_to.get("context")))
        });
        let types = applicable.map(|(name, action, context)| {
            let context = match context.map(|context| resolver.kind(context)).transpose()? {
                Some(Type::Record(record)) => record,
                Some(_) => return Err(format!("the context of action `{name}` is no record")),
                None => Record::default(),
            };
            let annotations = annotations(action);
            let declared = DeclaredAction {
                context,
                annotations,
            };
            Ok((name.clone(), declared))
        });
        let actions = types.collect::<Result<_, String>>()?;
        let listed = listed_entities(&json);
        Ok(Self { actions, listed })
    }

    /// Returns the type of an action's context; `None` for an action that the schema does not
    /// declare.
    pub(super) fn of_action(&self, action: &str) -> Option<&Record> {
        self.actions.get(action).map(|declared| &declared.context)
    }

    /// Returns the actions that requests can name, by name.
    pub(super) fn actions(&self) -> impl Iterator<Item = (&str, &DeclaredAction)> {
        self.actions.iter().map(|(name, action)| (&**name, action))
    }

    /// Returns the entity types whose ids the schema lists, by name, with the ids.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.listed.iter().map(|(name, ids)| (&**name, &**ids))
    }
}

/// Returns the annotations of a declaration. An annotation without a value has an empty text.
fn annotations(json: &Value) -> Annotations {
    let annotations = json.get("annotations").and_then(Value::as_object);
    let texts = annotations.into_iter().flatten().map(|(name, text)| {
        let text = text.as_str().unwrap_or_default();
        (name.clone(), text.to_owned())
    });
    texts.collect()
}

/// Resolves the names of types. Each common type is resolved once and shared, since types that are
/// made of each other can be exponentially large when they are written out.
struct Resolver<'a> {
    schema: &'a Value,
    resolved: HashMap<&'a str, Type>,
}

impl<'a> Resolver<'a> {
    fn kind(&mut self, json: &'a Value) -> Result<Type, String> {
        let unknown = || format!("the schema has a type of an unknown form: {json}");
        match json.get("type").and_then(Value::as_str) {
            Some("Set") => {
                let element = json.get("element").ok_or_else(unknown)?;
                Ok(Type::Set(Arc::new(self.kind(element)?)))
            }
            Some("Record") => {
                let attributes = json.get("attributes").and_then(Value::as_object);
                let record = self.record(attributes.ok_or_else(unknown)?)?;
                Ok(Type::Record(record))
            }
            Some("Entity") => {
                let name = (json.get("name").and_then(Value::as_str)).ok_or_else(unknown)?;
                let parsed = name.parse().map_err(|_| unknown())?;
                Ok(Type::Entity(parsed, self.listed_ids(name)))
            }
            Some("Extension") => {
                let name = json.get("name").and_then(Value::as_str);
                name.and_then(built_in).ok_or_else(unknown)
            }
            Some(name) => self.named(name)?.ok_or_else(unknown),
            None => Err(unknown()),
        }
    }

    fn record(&mut self, attributes: &'a Map<String, Value>) -> Result<Record, String> {
        let attributes = attributes.iter().map(|(name, json)| {
            let attribute = Attribute {
                kind: self.kind(json)?,
                is_required: json.get("required") != Some(&Value::Bool(false)),
                annotations: annotations(json),
            };
            Ok((name.clone(), attribute))
        });
        Ok(Arc::new(RecordType {
            name: None,
            attributes: attributes.collect::<Result<_, String>>()?,
        }))
    }

    fn named(&mut self, name: &'a str) -> Result<Option<Type>, String> {
        if let Some(known) = self.resolved.get(name) {
            return Ok(Some(known.clone()));
        }
        let Some(common) = self.definition(name, "commonTypes") else {
            return Ok(built_in(name));
        };
        // Cedar has rejected types that contain themselves.
        let mut kind = self.kind(common)?;
        // A record of another name is shared with that name.
        if let Type::Record(record) = &mut kind
            && let Some(record) = Arc::get_mut(record)
        {
            record.name.get_or_insert_with(|| name.to_owned());
        }
        self.resolved.insert(name, kind.clone());
        Ok(Some(kind))
    }

    /// Returns the ids of an entity type that is an `enum`.
    fn listed_ids(&self, name: &str) -> Option<Arc<BTreeSet<String>>> {
        listed_ids(self.definition(name, "entityTypes")?)
    }

    fn definition(&self, name: &str, section: &str) -> Option<&'a Value> {
        let (namespace, base) = name.rsplit_once("::").unwrap_or(("", name));
        self.schema.get(namespace)?.get(section)?.get(base)
    }
}

/// Returns the ids of an entity type that is an `enum`.
fn listed_ids(entity: &Value) -> Option<Arc<BTreeSet<String>>> {
    let ids = entity.get("enum")?.as_array()?;
    let ids = ids.iter().filter_map(Value::as_str);
    Some(Arc::new(ids.map(str::to_owned).collect()))
}

/// Returns the entity types that are an `enum`, of all namespaces.
fn listed_entities(schema: &Value) -> BTreeMap<String, Arc<BTreeSet<String>>> {
    let namespaces = schema.as_object().into_iter().flatten();
    let listed = namespaces.flat_map(|(namespace, section)| {
        let entities = section.get("entityTypes").and_then(Value::as_object);
        entities
            .into_iter()
            .flatten()
            .filter_map(move |(base, entity)| {
                let name = match namespace.is_empty() {
                    true => base.clone(),
                    false => format!("{namespace}::{base}"),
                };
                Some((name, listed_ids(entity)?))
            })
    });
    listed.collect()
}

fn built_in(name: &str) -> Option<Type> {
    Some(match name.strip_prefix("__cedar::").unwrap_or(name) {
        "Bool" | "Boolean" => Type::Bool,
        "Long" => Type::Long,
        "String" => Type::String,
        "decimal" => Type::Decimal,
        "ipaddr" => Type::Ipaddr,
        "datetime" => Type::Datetime,
        "duration" => Type::Duration,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(schema: &str, action: &str) -> Vec<String> {
        let types = ContextTypes::parse(schema).unwrap();
        let record = types.of_action(action).unwrap();
        (record.iter())
            .map(|(name, attribute)| {
                let mark = if attribute.is_required { "" } else { "?" };
                format!("{name}{mark}: {}", attribute.kind)
            })
            .collect()
    }

    #[test]
    fn each_attribute_has_its_declared_type() {
        let schema = r#"
            entity Agent; entity Resource; entity Team in [Agent];
            type Tags = Set<String>;
            type Ctx = { tags: Tags, client?: { ip: ipaddr }, "odd name": Bool };
            action deploy, "with \"quotes\"" appliesTo { principal: Agent, resource: Resource, context: Ctx };
            action read appliesTo { principal: Agent, resource: Resource };
            action writes;
            action pay appliesTo { principal: Agent, resource: Resource, context: {
                amount: Long, rate?: decimal, at: datetime, within: __cedar::duration, team: Team, name: __cedar::String,
            } };"#;
        let deploy = ["client?: a record", "odd name: Bool", "tags: Set<String>"];
        assert_eq!(shown(schema, "deploy"), deploy);
        assert_eq!(shown(schema, "with \"quotes\""), deploy);
        assert!(shown(schema, "read").is_empty());
        assert_eq!(
            shown(schema, "pay"),
            [
                "amount: Long",
                "at: datetime",
                "name: String",
                "rate?: decimal",
                "team: Team",
                "within: duration"
            ]
        );
        let types = ContextTypes::parse(schema).unwrap();
        assert!(types.of_action("writes").is_none() && types.of_action("none").is_none());
    }

    #[test]
    fn a_common_type_wins_over_a_built_in_one_and_has_its_namespace() {
        let schema = r#"
            entity Agent; entity Resource;
            type decimal = Long;
            namespace Bank { type Money = { cents: Long, rate: decimal }; type ipaddr = String; entity Branch; }
            action pay appliesTo { principal: Agent, resource: Resource, context: {
                a: decimal, b: __cedar::decimal, c: Bank::ipaddr, d: ipaddr, e: Bank::Branch,
            } };"#;
        let pay = [
            "a: Long",
            "b: decimal",
            "c: String",
            "d: ipaddr",
            "e: Bank::Branch",
        ];
        assert_eq!(shown(schema, "pay"), pay);
    }

    #[test]
    fn types_that_are_made_of_each_other_are_shared() {
        let levels: String = (1..60)
            .map(|n| format!("type T{n} = {{ a: T{0}, b: T{0} }};\n", n - 1))
            .collect();
        let schema = format!("type T0 = Long;\n{levels}");
        let json = cedar_policy::schema_str_to_json_with_resolved_types(&schema);
        let (json, _) = json.unwrap();
        let mut resolver = Resolver {
            schema: &json,
            resolved: HashMap::new(),
        };
        assert!(matches!(resolver.named("T59"), Ok(Some(Type::Record(_)))));
    }
}
