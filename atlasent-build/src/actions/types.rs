//! The types of the fields, and the items that they need: entities and records.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;

use atlasent_authority::policy::{
    AttributeDescription, AttributeType, EntityDescription, RecordDescription,
};

use super::{ALLOWED, Problems, TakenNames, described, documented, fields, names};

/// The entities and the records that the fields refer to.
#[derive(Default)]
pub(super) struct Types<'p> {
    /// The entity types by their name in the schema.
    entities: BTreeMap<String, EntityDescription<'p>>,
    /// The names of the records. A record that several fields have is one struct: types that are
    /// made of each other can be exponentially large when they are written out.
    records: HashMap<RecordDescription<'p>, String>,
    /// The records whose fields are not written yet.
    unwritten: VecDeque<Unwritten<'p>>,
}

/// A record whose fields are not written yet.
struct Unwritten<'p> {
    name: String,
    record: RecordDescription<'p>,
    place: Option<Place>,
}

/// Where the policy index has a type: the action, the key of its context, and the keys of the
/// records inside.
pub(super) type Place = Vec<String>;

impl<'p> Types<'p> {
    /// Returns the type of a field. `owner` is the name of its struct. `items` is the path of the
    /// module in which the modules `entities` and `records` are. `place` is that of the attribute, or
    /// `None` if the index does not have it.
    pub(super) fn field_type(
        &mut self,
        attribute: &AttributeDescription<'p>,
        owner: &str,
        items: &str,
        place: Option<&Place>,
    ) -> String {
        let part = names::type_name(attribute.name()).unwrap_or_default();
        let path = format!("{owner}{part}");
        let kind = self.type_text(&attribute.attribute_type(), &path, items, place);
        match attribute.is_required() {
            true => kind,
            false => format!("::core::option::Option<{kind}>"),
        }
    }

    /// `path` is the name of a record that has none of its own.
    fn type_text(
        &mut self,
        kind: &AttributeType<'p>,
        path: &str,
        items: &str,
        place: Option<&Place>,
    ) -> String {
        match kind {
            AttributeType::Bool => "::core::primitive::bool".to_owned(),
            AttributeType::Long => "::core::primitive::i64".to_owned(),
            AttributeType::Decimal => "__atlasent::schema::Decimal".to_owned(),
            AttributeType::Ipaddr => "__atlasent::schema::IpRange".to_owned(),
            AttributeType::Datetime => "__atlasent::schema::Datetime".to_owned(),
            AttributeType::TimeSpan => "__atlasent::schema::TimeSpan".to_owned(),
            AttributeType::Set(set) => {
                let element = self.type_text(&set.element(), path, items, place);
                format!("::std::vec::Vec<{element}>")
            }
            AttributeType::Record(record) => {
                format!("{items}::records::{}", self.record(*record, path, place))
            }
            AttributeType::Entity(entity) => {
                let name = names::type_name(&entity.name()).unwrap_or_default();
                self.entities.insert(entity.name(), *entity);
                format!("{items}::entities::{name}")
            }
            // Texts, and types of a later version, whose values are texts.
            _ => "::std::string::String".to_owned(),
        }
    }

    /// Returns the name of a record.
    fn record(
        &mut self,
        record: RecordDescription<'p>,
        path: &str,
        place: Option<&Place>,
    ) -> String {
        if let Some(name) = self.records.get(&record) {
            return name.clone();
        }
        let name = record.name().and_then(names::type_name);
        let name = name.unwrap_or_else(|| path.to_owned());
        self.records.insert(record, name.clone());
        self.unwritten.push_back(Unwritten {
            name: name.clone(),
            record,
            place: place.cloned(),
        });
        name
    }
}

/// Returns the module of the records, and adds the entities that they refer to.
pub(super) fn records_module(types: &mut Types<'_>, problems: &mut Problems) -> String {
    let mut module = String::new();
    let mut taken = TakenNames::default();
    while let Some(next) = types.unwritten.pop_front() {
        let Unwritten {
            name,
            record,
            place,
        } = next;
        let what = match record.name() {
            Some(declared) => format!("record `{declared}`"),
            None => format!("record of `{name}`"),
        };
        if !taken.take(&name, &what, problems) {
            continue;
        }
        let doc = match record.name() {
            Some(declared) => format!("The record `{declared}`."),
            None => "A record of the schema.".to_owned(),
        };
        let attributes: Vec<_> = record.attributes().collect();
        let fields = fields(&what, &attributes, problems);
        let _ = writeln!(
            module,
            "    #[doc = {doc:?}]\n    {ALLOWED}\n    \
             #[derive(Clone, Debug, PartialEq, Eq, Hash, __atlasent::schema::generated::serde::Serialize)]\n    \
             #[serde(crate = \"__atlasent::schema::generated::serde\")]"
        );
        // The index says what fits where the record is expected.
        if let Some(place) = &place {
            let place: String = place.iter().map(|part| format!("{part:?}, ")).collect();
            let _ = writeln!(
                module,
                "    #[derive(__atlasent::PolicyRecord)]\n    #[record({place}crate = __atlasent)]"
            );
        }
        let _ = writeln!(module, "    pub struct {name} {{");
        for (field, attribute) in &fields {
            let key = attribute.name();
            let doc = documented(attribute.doc(), &described(attribute));
            let inner = place
                .as_ref()
                .map(|place| [&**place, &[key.to_owned()]].concat());
            let kind = types.field_type(attribute, &name, "super", inner.as_ref());
            let _ = writeln!(
                module,
                "        #[doc = {doc:?}]\n        #[serde(rename = {key:?})]\n        pub {field}: {kind},"
            );
        }
        module.push_str("    }\n");
    }
    in_module("records", "The records of the schema.", &module)
}

/// Returns the module of the entities.
pub(super) fn entities_module(types: &Types<'_>, problems: &mut Problems) -> String {
    let mut module = String::new();
    let mut taken = TakenNames::default();
    for (declared, entity) in &types.entities {
        let what = format!("entity type `{declared}`");
        let name = problems.name(&what, None, names::type_name(declared));
        let Some(name) = name.filter(|name| taken.take(name, &what, problems)) else {
            continue;
        };
        let doc = format!("The id of an entity of the type `{declared}`.");
        let Some(ids) = entity.ids() else {
            let _ = writeln!(
                module,
                "    __atlasent::__policy_entity! {{\n        #[doc = {doc:?}]\n        pub struct {name} = {declared:?};\n    }}"
            );
            continue;
        };
        let _ = writeln!(
            module,
            "    __atlasent::__policy_enum! {{\n        #[doc = {doc:?}]\n        pub enum {name} = {declared:?} {{"
        );
        let mut variants = TakenNames::default();
        for id in ids {
            let what = format!("id `{id}` of {what}");
            let variant = problems.name(&what, None, names::type_name(id));
            if let Some(variant) = variant.filter(|name| variants.take(name, &what, problems)) {
                let doc = format!("`{id}`");
                let _ = writeln!(
                    module,
                    "            #[doc = {doc:?}]\n            {variant} = {id:?},"
                );
            }
        }
        module.push_str("        }\n    }\n");
    }
    in_module("entities", "The types of entities in the schema.", &module)
}

/// Returns a module, or nothing for an empty one.
fn in_module(name: &str, doc: &str, items: &str) -> String {
    match items {
        "" => String::new(),
        items => format!(
            "#[doc = {doc:?}]\n{ALLOWED}\npub mod {name} {{\n    use super::__atlasent;\n\n{items}}}\n\n"
        ),
    }
}
