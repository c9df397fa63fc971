//! Random schemas.

use std::fmt;

use crate::numbers::Numbers;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Long,
    String,
    Decimal,
    Ipaddr,
    Datetime,
    Duration,
    /// An entity of any id.
    Team,
    /// An entity that is `red` or `dark blue`.
    Colour,
    Set(Box<Kind>),
    Record(Vec<Key>),
}

/// A key of a context or of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
}

/// An action with the keys of its context.
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) keys: Vec<Key>,
}

/// A schema.
pub(crate) struct Schema(pub(crate) Vec<Action>);

const NAMES: [&str; 10] = [
    "commit",
    "replicas",
    "note",
    "tags",
    "type",
    "client",
    "from",
    "until",
    "odd {key}",
    "the team",
];

const SCALARS: [Kind; 9] = [
    Kind::Bool,
    Kind::Long,
    Kind::String,
    Kind::Decimal,
    Kind::Ipaddr,
    Kind::Datetime,
    Kind::Duration,
    Kind::Team,
    Kind::Colour,
];

impl Schema {
    /// Returns a schema with a number of actions.
    pub(crate) fn random(numbers: &mut Numbers, actions: usize) -> Self {
        let action = |number| Action {
            name: format!("action {number}"),
            keys: Key::random(numbers, 4, 0),
        };
        Self((0..actions).map(action).collect())
    }

    /// Returns the text in Cedar's syntax.
    pub(crate) fn text(&self) -> String {
        let mut text =
            "entity Agent, Resource, Team;\nentity Colour enum [\"red\", \"dark blue\"];\n"
                .to_owned();
        for Action { name, keys } in &self.0 {
            let context = Kind::Record(keys.clone());
            text += &format!(
                "action \"{name}\" appliesTo {{ principal: Agent, resource: Resource, context: {context} }};\n"
            );
        }
        text
    }

    /// Returns a module with a constant for the name of each action, and one for an unknown action.
    pub(crate) fn names(&self) -> String {
        let constants = self.0.iter().enumerate().map(|(number, action)| {
            format!("    pub const A{number}: &str = \"{}\";\n", action.name)
        });
        format!(
            "mod names {{\n{}    pub const UNKNOWN: &str = \"no action\";\n}}\n",
            constants.collect::<String>()
        )
    }
}

impl Key {
    /// Returns up to `most` keys with different names.
    fn random(numbers: &mut Numbers, most: usize, depth: usize) -> Vec<Self> {
        let mut keys: Vec<Self> = Vec::new();
        for _ in 0..=numbers.below(most) {
            let name = *numbers.one_of(&NAMES);
            if keys.iter().all(|key| key.name != name) {
                keys.push(Self {
                    name: name.to_owned(),
                    kind: Kind::random(numbers, depth),
                    is_required: !numbers.one_in(3),
                });
            }
        }
        keys
    }
}

impl Kind {
    fn random(numbers: &mut Numbers, depth: usize) -> Self {
        match numbers.below(8) {
            0 | 1 if depth < 3 => Self::Set(Box::new(Self::random(numbers, depth + 1))),
            2 if depth < 3 => Self::Record(Key::random(numbers, 3, depth + 1)),
            _ => numbers.one_of(&SCALARS).clone(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Bool => "Bool",
            Self::Long => "Long",
            Self::String => "String",
            Self::Decimal => "decimal",
            Self::Ipaddr => "ipaddr",
            Self::Datetime => "datetime",
            Self::Duration => "duration",
            Self::Team => "Team",
            Self::Colour => "Colour",
            Self::Set(element) => return write!(f, "Set<{element}>"),
            Self::Record(keys) => {
                f.write_str("{ ")?;
                for key in keys {
                    let mark = if key.is_required { "" } else { "?" };
                    write!(f, "\"{}\"{mark}: {}, ", key.name, key.kind)?;
                }
                return f.write_str("}");
            }
        };
        f.write_str(name)
    }
}
