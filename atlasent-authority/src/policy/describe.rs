//! Describing what a schema declares: the actions that requests can name, and the types of their
//! contexts. For tools that compare code with policies, such as `atlasent-build`.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cedar_policy::EntityTypeName;

use super::Policies;
use super::types::{Annotations, Attribute, DeclaredAction, Record, Type};

impl Policies {
    /// Returns the actions that the schema declares and that a request can name, sorted by name.
    /// Without a schema, the iterator is empty; [`schema_digest`](Self::schema_digest) tells the
    /// two cases apart.
    ///
    /// An action in a namespace, and an action that only groups others, is left out: a request
    /// cannot name it.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::builder()
    ///     .schema("schema.cedarschema", r#"
    ///         entity Agent, Resource;
    ///         @doc("Rolls a commit out.")
    ///         action "deploy" appliesTo {
    ///             principal: Agent, resource: Resource,
    ///             context: { commit: String, tags?: Set<String> },
    ///         };
    ///     "#)
    ///     .source("deploy.cedar", "permit (principal, action, resource);")
    ///     .build()?;
    /// let deploy = policies.actions().next().unwrap();
    /// assert_eq!((deploy.name(), deploy.doc()), ("deploy", Some("Rolls a commit out.")));
    ///
    /// let attributes = deploy.context().attributes();
    /// let shown: Vec<_> = attributes.map(|a| (a.name(), a.type_name(), a.is_required())).collect();
    /// let expected = [("commit", "String", true), ("tags", "Set<String>", false)];
    /// assert_eq!(shown, expected.map(|(name, ty, required)| (name, ty.to_owned(), required)));
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    pub fn actions(&self) -> impl Iterator<Item = ActionDescription<'_>> {
        let declared = self.context_types.iter().flat_map(|types| types.actions());
        declared.map(|(name, action)| ActionDescription { name, action })
    }

    /// Returns the entity types that the schema declares as an `enum`, with their ids, sorted.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::builder()
    ///     .schema("schema.cedarschema", r#"
    ///         entity Agent, Resource;
    ///         entity Colour enum ["red", "green"];
    ///     "#)
    ///     .source("deploy.cedar", "permit (principal, action, resource);")
    ///     .build()?;
    /// let (colour, ids) = policies.listed_entities().next().unwrap();
    /// assert_eq!((colour, ids.collect::<Vec<_>>()), ("Colour", vec!["green", "red"]));
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    pub fn listed_entities(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        let listed = self.context_types.iter().flat_map(|types| types.listed());
        listed.map(|(name, ids)| (name, ids.iter().map(String::as_str)))
    }

    /// Returns the digest of the schema in lower-case hex, or `None` without a schema.
    ///
    /// It does not depend on comments, on white space or on the order of declarations.
    #[must_use]
    pub fn schema_digest(&self) -> Option<&str> {
        self.digests.schema()
    }
}

/// An action that the schema declares; from [`Policies::actions`].
#[derive(Clone, Copy, Debug)]
pub struct ActionDescription<'p> {
    name: &'p str,
    action: &'p DeclaredAction,
}

impl<'p> ActionDescription<'p> {
    /// Returns the name of the action, as requests write it.
    #[must_use]
    pub fn name(self) -> &'p str {
        self.name
    }

    /// Returns the text of the annotation `@doc`.
    #[must_use]
    pub fn doc(self) -> Option<&'p str> {
        self.annotation("doc")
    }

    /// Returns the text of an annotation: empty for one without a text.
    #[must_use]
    pub fn annotation(self, name: &str) -> Option<&'p str> {
        text_of(&self.action.annotations, name)
    }

    /// Returns the type of the action's context.
    #[must_use]
    pub fn context(self) -> RecordDescription<'p> {
        RecordDescription(&self.action.context)
    }
}

/// The type of a context, or of a record inside of one. Two are equal if they are the same
/// declaration of the schema.
#[derive(Clone, Copy, Debug)]
pub struct RecordDescription<'p>(&'p Record);

impl<'p> RecordDescription<'p> {
    /// Returns the name of the common type that is declared as this record, such as `Client` for
    /// `type Client = { ip: ipaddr };`, with its namespace.
    #[must_use]
    pub fn name(self) -> Option<&'p str> {
        self.0.name.as_deref()
    }

    /// Returns the attributes, sorted by name.
    pub fn attributes(self) -> impl Iterator<Item = AttributeDescription<'p>> {
        let attributes = self.0.iter();
        attributes.map(|(name, attribute)| AttributeDescription { name, attribute })
    }
}

impl PartialEq for RecordDescription<'_> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.0, other.0)
    }
}

impl Eq for RecordDescription<'_> {}

impl Hash for RecordDescription<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(self.0).hash(state);
    }
}

/// An attribute of a context, or of a record inside of one.
#[derive(Clone, Copy, Debug)]
pub struct AttributeDescription<'p> {
    name: &'p str,
    attribute: &'p Attribute,
}

impl<'p> AttributeDescription<'p> {
    /// Returns the name of the attribute: its key in the JSON of the context.
    #[must_use]
    pub fn name(self) -> &'p str {
        self.name
    }

    /// Returns whether a request without the attribute is denied.
    #[must_use]
    pub fn is_required(self) -> bool {
        self.attribute.is_required
    }

    /// Returns the text of the annotation `@doc`.
    #[must_use]
    pub fn doc(self) -> Option<&'p str> {
        self.annotation("doc")
    }

    /// Returns the text of an annotation: empty for one without a text.
    #[must_use]
    pub fn annotation(self, name: &str) -> Option<&'p str> {
        text_of(&self.attribute.annotations, name)
    }

    /// Returns the type of the attribute.
    #[must_use]
    pub fn attribute_type(self) -> AttributeType<'p> {
        AttributeType::from_type(&self.attribute.kind)
    }

    /// Returns the type as error messages show it, such as `Set<String>`.
    #[must_use]
    pub fn type_name(self) -> String {
        self.attribute.kind.to_string()
    }
}

/// The type of an attribute, or of the elements of a set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttributeType<'p> {
    /// `Bool`
    Bool,
    /// `Long`
    Long,
    /// `String`. The variant has another name, so that compilers keep printing `String` for the
    /// standard library's type.
    Text,
    /// `decimal`
    Decimal,
    /// `ipaddr`
    Ipaddr,
    /// `datetime`
    Datetime,
    /// `duration`. The variant has another name for the same reason as `Text`.
    TimeSpan,
    /// `Set<…>`
    Set(SetDescription<'p>),
    /// A record.
    Record(RecordDescription<'p>),
    /// An entity.
    Entity(EntityDescription<'p>),
}

impl<'p> AttributeType<'p> {
    fn from_type(kind: &'p Type) -> Self {
        match kind {
            Type::Bool => Self::Bool,
            Type::Long => Self::Long,
            Type::String => Self::Text,
            Type::Decimal => Self::Decimal,
            Type::Ipaddr => Self::Ipaddr,
            Type::Datetime => Self::Datetime,
            Type::Duration => Self::TimeSpan,
            Type::Set(element) => Self::Set(SetDescription(element)),
            Type::Record(record) => Self::Record(RecordDescription(record)),
            Type::Entity(name, ids) => Self::Entity(EntityDescription { name, ids }),
        }
    }
}

/// The type of an entity. `Display` prints its name.
#[derive(Clone, Copy, Debug)]
pub struct EntityDescription<'p> {
    name: &'p EntityTypeName,
    ids: &'p Option<Arc<BTreeSet<String>>>,
}

impl<'p> EntityDescription<'p> {
    /// Returns the name of the type, with its namespace.
    #[must_use]
    pub fn name(self) -> String {
        self.name.to_string()
    }

    /// Returns the ids that entities of the type can have, sorted, if the schema lists them
    /// (`entity Color enum ["red", "blue"];`).
    #[must_use]
    pub fn ids(self) -> Option<impl Iterator<Item = &'p str>> {
        let ids = self.ids.as_ref()?;
        Some(ids.iter().map(String::as_str))
    }
}

impl fmt::Display for EntityDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// The type of a set.
#[derive(Clone, Copy, Debug)]
pub struct SetDescription<'p>(&'p Type);

impl<'p> SetDescription<'p> {
    /// Returns the type of the elements.
    #[must_use]
    pub fn element(self) -> AttributeType<'p> {
        AttributeType::from_type(self.0)
    }
}

fn text_of<'p>(annotations: &'p Annotations, name: &str) -> Option<&'p str> {
    annotations.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(schema: &str) -> Policies {
        let builder = Policies::builder().schema("s", schema);
        let builder = builder.source("p", "permit (principal, action, resource);");
        builder.build().unwrap()
    }

    #[test]
    fn actions_have_their_documentation_and_types() {
        let policies = policies(
            r#"
            entity Agent, Resource, Team;
            action changes;
            @doc("Pays an invoice.") @owner
            action pay in [changes] appliesTo { principal: Agent, resource: Resource, context: {
                @doc("In euros.") amount: decimal,
                teams?: Set<Team>,
                client: { "the ip": ipaddr },
            } };
            action look appliesTo { principal: Agent, resource: Resource };
            namespace Bank { action transfer appliesTo { principal: Agent, resource: Resource }; }"#,
        );
        let names: Vec<_> = policies.actions().map(ActionDescription::name).collect();
        assert_eq!(names, ["look", "pay"]);
        let pay = policies.actions().nth(1).unwrap();
        assert_eq!(pay.doc(), Some("Pays an invoice."));
        assert_eq!(
            (pay.annotation("owner"), pay.annotation("x")),
            (Some(""), None)
        );

        let attributes: Vec<_> = pay.context().attributes().collect();
        let [amount, client, teams] = attributes[..] else {
            panic!("{attributes:?}");
        };
        assert_eq!(
            (amount.doc(), amount.is_required()),
            (Some("In euros."), true)
        );
        let AttributeType::Record(client) = client.attribute_type() else {
            panic!("{client:?}");
        };
        let ip = client.attributes().next().unwrap();
        assert!(matches!(ip.attribute_type(), AttributeType::Ipaddr));
        assert_eq!(ip.name(), "the ip");
        let AttributeType::Set(set) = teams.attribute_type() else {
            panic!("{teams:?}");
        };
        assert!(matches!(set.element(), AttributeType::Entity(team) if team.name() == "Team"));
        assert!(!teams.is_required());
    }

    #[test]
    fn a_record_has_the_name_of_its_common_type_and_is_equal_to_itself() {
        let policies = policies(
            r#"
            entity Agent, Resource;
            entity Color enum ["red", "blue"];
            type Client = { ip: ipaddr };
            type Alias = Client;
            namespace Net { type Port = { number: Long }; }
            action a appliesTo { principal: Agent, resource: Resource, context: {
                a: Client, b: Set<Alias>, c: { ip: ipaddr }, d: { ip: ipaddr }, e: Net::Port, f: Color,
            } };"#,
        );
        let action = policies.actions().next().unwrap();
        let types: Vec<_> = action
            .context()
            .attributes()
            .map(|a| a.attribute_type())
            .collect();
        let [
            AttributeType::Record(a),
            AttributeType::Set(b),
            AttributeType::Record(c),
            AttributeType::Record(d),
            AttributeType::Record(e),
            AttributeType::Entity(f),
        ] = &types[..]
        else {
            panic!("{types:?}");
        };
        let AttributeType::Record(b) = b.element() else {
            panic!("{b:?}");
        };
        assert_eq!((a.name(), c.name()), (Some("Client"), None));
        assert_eq!(e.name(), Some("Net::Port"));
        assert!(*a == b && a != c && c != d);
        assert_eq!(f.ids().unwrap().collect::<Vec<_>>(), ["blue", "red"]);
    }

    #[test]
    fn entities_with_listed_ids_have_their_full_names() {
        let policies = policies(
            r#"entity Agent, Resource; entity Colour enum ["red"];
            namespace Bank { entity Kind enum ["b", "a"]; entity Team; }"#,
        );
        let listed = policies.listed_entities();
        let listed: Vec<_> = listed
            .map(|(name, ids)| (name, ids.collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            listed,
            [("Bank::Kind", vec!["a", "b"]), ("Colour", vec!["red"])]
        );
    }

    #[test]
    fn the_digest_of_a_schema_is_that_of_its_declarations() {
        let digest = |schema| policies(schema).schema_digest().unwrap().to_owned();
        let one = digest("entity Agent; entity Resource;");
        assert_eq!(one, digest("entity Resource; // second\nentity Agent;"));
        assert_ne!(one, digest("entity Agent; entity Resource; entity Team;"));
        let without = Policies::parse("permit (principal, action, resource);").unwrap();
        assert_eq!(without.schema_digest(), None);
        assert_eq!(without.actions().count(), 0);
    }
}
