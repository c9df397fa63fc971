//! The types that uses require, by unification: values that are compared get one type.
//!
//! ```text
//! context.limit > 5            limit: Long
//! context.a == context.b       a and b are one class, of an unknown type
//! context.b == "x"             the class of a and b: String
//! ```

use std::collections::BTreeMap;

/// A type in [`Types`].
pub(super) type Id = usize;

/// What is known of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unknown,
    /// `Long`, `datetime` or `duration`, since the value is compared with `<` or the like.
    Ordered,
    Bool,
    Long,
    Text,
    /// `decimal`, `ipaddr`, `datetime` or `duration`.
    Extension(&'static str),
    Set(Id),
    Record(BTreeMap<String, Attribute>),
    /// An entity of the type with this name.
    Entity(String),
}

/// An attribute of a record or an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) id: Id,
    /// Whether a `has` tests for it.
    pub(super) is_tested: bool,
    /// Whether it is read without a `has` before.
    pub(super) is_needed: bool,
    /// Whether an entity or a value lacks it.
    pub(super) is_lacking: bool,
}

impl Attribute {
    /// Returns whether the schema should require it: a policy that reads an attribute without a
    /// `has` is valid only then.
    pub(super) fn is_required(&self) -> bool {
        !self.is_lacking && (self.is_needed || !self.is_tested)
    }

    fn merge(&mut self, other: &Self) {
        self.is_tested |= other.is_tested;
        self.is_needed |= other.is_needed;
        self.is_lacking |= other.is_lacking;
    }
}

/// How an expression uses an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// `has`
    Test,
    /// A read that a `has` guards.
    GuardedRead,
    /// A read without a `has` before.
    Read,
}

/// The type of an entity.
#[derive(Clone, Copy, Debug)]
struct EntityShape {
    attributes: Id,
    tags: Option<Id>,
}

/// Two uses of a value that need different types.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) types: [String; 2],
    /// The policies that need them, by position.
    pub(super) policies: [Option<usize>; 2],
}

#[derive(Debug)]
struct Node {
    /// The type that this one turned out to be.
    same_as: Option<Id>,
    kind: Kind,
    /// The policy that first required the type, by position.
    policy: Option<usize>,
}

/// All types, and the entity types among them.
#[derive(Debug, Default)]
pub(super) struct Types {
    nodes: Vec<Node>,
    entities: BTreeMap<String, EntityShape>,
}

impl Types {
    /// Adds a type that a policy requires.
    pub(super) fn add(&mut self, kind: Kind, policy: Option<usize>) -> Id {
        self.nodes.push(Node {
            same_as: None,
            kind,
            policy,
        });
        self.nodes.len() - 1
    }

    pub(super) fn unknown(&mut self) -> Id {
        self.add(Kind::Unknown, None)
    }

    pub(super) fn record(&mut self) -> Id {
        self.add(Kind::Record(BTreeMap::new()), None)
    }

    pub(super) fn kind(&self, id: Id) -> Kind {
        let node = self.nodes.get(self.representative(id));
        node.map_or(Kind::Unknown, |node| node.kind.clone())
    }

    /// Returns the id of the class that a type is in.
    pub(super) fn representative(&self, mut id: Id) -> Id {
        while let Some(next) = self.nodes.get(id).and_then(|node| node.same_as) {
            id = next;
        }
        id
    }

    /// Declares an entity type, if it is not yet declared. Returns the record of its attributes.
    pub(super) fn entity(&mut self, name: &str) -> Id {
        if let Some(shape) = self.entities.get(name) {
            return shape.attributes;
        }
        let attributes = self.record();
        let tags = None;
        self.entities
            .insert(name.to_owned(), EntityShape { attributes, tags });
        attributes
    }

    /// Returns the type of an entity type's tags.
    pub(super) fn tags(&mut self, name: &str) -> Id {
        self.entity(name);
        let new = self.unknown();
        let shape = self.entities.get_mut(name);
        shape.map_or(new, |shape| *shape.tags.get_or_insert(new))
    }

    /// Returns the entity types by name, each with its attributes and tags.
    pub(super) fn entities(&self) -> impl Iterator<Item = (&str, Id, Option<Id>)> {
        let entities = self.entities.iter();
        entities.map(|(name, shape)| (name.as_str(), shape.attributes, shape.tags))
    }

    /// Returns the type of an attribute, which a record or an entity then has.
    pub(super) fn attribute(&mut self, of: Id, name: &str, used: Use) -> Result<Id, Mismatch> {
        let mut attributes = match self.kind(of) {
            Kind::Entity(entity) => {
                let record = self.entity(&entity);
                return self.attribute(record, name, used);
            }
            Kind::Record(attributes) => attributes,
            Kind::Unknown => BTreeMap::new(),
            _ => return Err(self.mismatch(of, "a record or an entity".to_owned(), None)),
        };
        let id = match attributes.get(name) {
            Some(attribute) => attribute.id,
            None => self.unknown(),
        };
        let attribute = attributes.entry(name.to_owned()).or_insert(Attribute {
            id,
            is_tested: false,
            is_needed: false,
            is_lacking: false,
        });
        attribute.is_tested |= used == Use::Test;
        attribute.is_needed |= used == Use::Read;
        self.set(of, Kind::Record(attributes));
        Ok(id)
    }

    /// Makes two types one.
    pub(super) fn unify(&mut self, a: Id, b: Id) -> Result<(), Mismatch> {
        let (a, b) = (self.representative(a), self.representative(b));
        if a == b {
            return Ok(());
        }
        let (kept, dropped) = (a.min(b), a.max(b));
        // The classes are joined before their parts, so that a type that contains itself ends here.
        let mut parts = Vec::new();
        let kind = match (self.kind(kept), self.kind(dropped)) {
            (one, other) if one == other => one,
            (Kind::Unknown, kind) | (kind, Kind::Unknown) => kind,
            (Kind::Ordered, kind) | (kind, Kind::Ordered) if is_ordered(&kind) => kind,
            (Kind::Set(one), Kind::Set(other)) => {
                parts.push((one, other));
                Kind::Set(one)
            }
            (Kind::Record(mut one), Kind::Record(other)) => {
                for (name, attribute) in other {
                    match one.get_mut(&name) {
                        Some(known) => {
                            parts.push((known.id, attribute.id));
                            known.merge(&attribute);
                        }
                        None => drop(one.insert(name, attribute)),
                    }
                }
                Kind::Record(one)
            }
            (Kind::Entity(name), Kind::Record(attributes))
            | (Kind::Record(attributes), Kind::Entity(name)) => {
                let record = self.add(Kind::Record(attributes), None);
                parts.push((self.entity(&name), record));
                Kind::Entity(name)
            }
            _ => {
                let policy = self.policy(b);
                return Err(self.mismatch(a, self.name(b), policy));
            }
        };
        let policy = self.policy(kept).or(self.policy(dropped));
        if let Some(node) = self.nodes.get_mut(dropped) {
            node.same_as = Some(kept);
        }
        if let Some(node) = self.nodes.get_mut(kept) {
            node.policy = policy;
        }
        self.set(kept, kind);
        parts
            .into_iter()
            .try_for_each(|(one, other)| self.unify(one, other))
    }

    /// Returns a type as a message shows it.
    pub(super) fn name(&self, id: Id) -> String {
        match self.kind(id) {
            Kind::Unknown => "unknown".to_owned(),
            Kind::Ordered => "an ordered type".to_owned(),
            Kind::Bool => "`Bool`".to_owned(),
            Kind::Long => "`Long`".to_owned(),
            Kind::Text => "`String`".to_owned(),
            Kind::Extension(name) => format!("`{name}`"),
            Kind::Set(_) => "a set".to_owned(),
            Kind::Record(_) => "a record".to_owned(),
            Kind::Entity(name) => format!("an entity `{name}`"),
        }
    }

    /// Marks the attributes of a record that are not among `present` as lacking.
    pub(super) fn lack_others(&mut self, record: Id, present: impl Fn(&str) -> bool) {
        if let Kind::Record(mut attributes) = self.kind(record) {
            for (name, attribute) in &mut attributes {
                attribute.is_lacking |= !present(name);
            }
            self.set(record, Kind::Record(attributes));
        }
    }

    fn set(&mut self, id: Id, kind: Kind) {
        let id = self.representative(id);
        if let Some(node) = self.nodes.get_mut(id) {
            node.kind = kind;
        }
    }

    fn policy(&self, id: Id) -> Option<usize> {
        self.nodes.get(self.representative(id))?.policy
    }

    fn mismatch(&self, id: Id, other: String, policy: Option<usize>) -> Mismatch {
        Mismatch {
            types: [self.name(id), other],
            policies: [self.policy(id), policy],
        }
    }
}

fn is_ordered(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Ordered | Kind::Long | Kind::Extension("datetime" | "duration")
    )
}
