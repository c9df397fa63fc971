//! Writes a struct for each action of the schema, for `atlasent::include_actions!`.
//!
//! For `action "deploy.production"` with the context `{ commit: String, client?: { ip: ipaddr } }`:
//!
//! ```text
//! #[derive(…, __atlasent::Action)]
//! #[action("deploy.production", crate = __atlasent)]
//! pub struct DeployProduction {
//!     pub client: ::core::option::Option<self::records::DeployProductionClient>,
//!     pub commit: ::std::string::String,
//! }
//! pub mod entities { … }
//! pub mod records {
//!     #[derive(…, Serialize, __atlasent::PolicyRecord)]
//!     #[record("deploy.production", "client", crate = __atlasent)]
//!     pub struct DeployProductionClient { pub ip: __atlasent::schema::IpRange }
//! }
//! ```
//!
//! The macro that includes the text imports `__atlasent`. Paths are complete, because an action can
//! be called `string`. The text is for compilers, so it is not formatted.

mod names;
mod types;

use std::collections::HashMap;
use std::fmt::Write as _;

use atlasent_authority::Policies;
use atlasent_authority::policy::{ActionDescription, AttributeDescription, AttributeType};

use crate::index;
use types::{Types, entities_module, records_module};

/// What every item allows: the code of a package may deny all of these.
const ALLOWED: &str = "#[allow(dead_code, missing_copy_implementations, non_camel_case_types, unnameable_types, unreachable_pub, \
    unused_qualifications, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction, reason = \"the schema decides\")]";

/// The annotation that chooses a name.
const RUST_NAME: &str = "rust_name";

/// The annotation of the attribute that is the action's resource.
const RESOURCE: &str = "resource";

/// Returns the text. A name that Rust cannot have is a `compile_error!` in it.
pub(crate) fn write(policies: &Policies) -> String {
    let mut problems = Problems::default();
    let mut types = Types::default();
    let mut actions = String::new();
    let mut taken = TakenNames::default();
    for name in ["entities", "records", "__atlasent"] {
        taken.reserve(name);
    }
    for action in policies.actions() {
        let what = format!("action `{}`", action.name());
        let chosen = action.annotation(RUST_NAME);
        let name = problems.name(&what, chosen, names::type_name(action.name()));
        if let Some(name) = name.filter(|name| taken.take(name, &what, &mut problems)) {
            write_action(&mut actions, action, &name, &mut types, &mut problems);
        }
    }
    let records = records_module(&mut types, &mut problems);
    let entities = entities_module(&types, &mut problems);
    let errors: String = (problems.0.iter())
        .map(|problem| format!("::core::compile_error!({problem:?});\n"))
        .collect();
    format!("// Written by `atlasent-build`.\n\n{errors}{actions}{entities}{records}")
}

fn write_action<'p>(
    out: &mut String,
    action: ActionDescription<'p>,
    name: &str,
    types: &mut Types<'p>,
    problems: &mut Problems,
) {
    let what = format!("action `{}`", action.name());
    let owner = action.context().name().and_then(names::type_name);
    let owner = owner.as_deref().unwrap_or(name);
    let attributes: Vec<_> = action.context().attributes().collect();
    let fields = fields(&what, &attributes, problems);

    let marked = |(_, attribute): &&(String, &AttributeDescription<'_>)| {
        attribute.annotation(RESOURCE).is_some()
    };
    let resources: Vec<_> = fields.iter().filter(marked).collect();
    if resources.len() > 1 {
        problems.add(format!(
            "{what} has more than one attribute with `@{RESOURCE}`: an action has one resource, so keep one"
        ));
    }
    let has_default = !attributes.is_empty() && !attributes.iter().any(|a| a.is_required());
    let default = if has_default { "Default, " } else { "" };
    let doc = documented(action.doc(), &format!("The action `{}`.", action.name()));
    let key = action.name();
    let _ = write!(
        out,
        "#[doc = {doc:?}]\n{ALLOWED}\n#[derive(Clone, Debug, {default}PartialEq, Eq, Hash, __atlasent::Action)]\n\
         #[action({key:?}, crate = __atlasent)]\npub struct {name}"
    );
    if attributes.is_empty() {
        out.push_str(";\n\n");
        return;
    }
    out.push_str(" {\n");
    for (field, attribute) in &fields {
        let key = attribute.name();
        let doc = documented(attribute.doc(), &described(attribute));
        let _ = writeln!(out, "    #[doc = {doc:?}]");
        if attribute.annotation(RESOURCE).is_some() {
            check_resource(&what, attribute, problems);
            out.push_str("    #[action(resource)]\n");
        }
        if field.strip_prefix("r#").unwrap_or(field) != key {
            let _ = writeln!(out, "    #[action(rename = {key:?})]");
        }
        let place = vec![action.name().to_owned(), key.to_owned()];
        let place = (!index::is_large(&attribute.attribute_type())).then_some(place);
        if place.is_none() {
            out.push_str("    #[action(unchecked_policy)]\n");
        }
        let kind = types.field_type(attribute, owner, "self", place.as_ref());
        let _ = writeln!(out, "    pub {field}: {kind},");
    }
    out.push_str("}\n\n");
}

/// Returns the attributes with the names of their fields, without those that have no name.
fn fields<'a, 'p>(
    what: &str,
    attributes: &'a [AttributeDescription<'p>],
    problems: &mut Problems,
) -> Vec<(String, &'a AttributeDescription<'p>)> {
    let mut taken = TakenNames::default();
    let mut fields = Vec::new();
    for attribute in attributes {
        let what = format!("attribute `{}` of {what}", attribute.name());
        let chosen = attribute.annotation(RUST_NAME);
        let name = problems.name(&what, chosen, names::field_name(attribute.name()));
        fields.extend(
            name.filter(|name| taken.take(name, &what, problems))
                .map(|name| (name, attribute)),
        );
    }
    fields
}

/// A resource is a text: a set or a record has none, and neither has an absent value.
fn check_resource(what: &str, attribute: &AttributeDescription<'_>, problems: &mut Problems) {
    let is_text = !matches!(
        attribute.attribute_type(),
        AttributeType::Set(_) | AttributeType::Record(_)
    );
    if !is_text || !attribute.is_required() {
        problems.add(format!(
            "attribute `{}` of {what} cannot be the resource: an attribute with `@{RESOURCE}` is required, and is \
             neither a set nor a record",
            attribute.name()
        ));
    }
}

/// Returns a documentation: the text of the schema, if it has one, before what is always said.
fn documented(doc: Option<&str>, always: &str) -> String {
    match doc {
        Some(doc) if !doc.is_empty() => format!("{doc}\n\n{always}"),
        _ => always.to_owned(),
    }
}

fn described(attribute: &AttributeDescription<'_>) -> String {
    let optional = if attribute.is_required() { "" } else { "?" };
    format!(
        "`{}{optional}: {}`",
        attribute.name(),
        attribute.type_name()
    )
}

/// What keeps the schema from being Rust.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    /// Returns the name that the schema chooses, or else the one that was derived.
    fn name(
        &mut self,
        what: &str,
        chosen: Option<&str>,
        derived: Option<String>,
    ) -> Option<String> {
        match (chosen, derived) {
            (Some(chosen), _) if names::is_name(chosen) => return Some(chosen.to_owned()),
            (Some(chosen), _) => self.add(format!(
                "{what} has `@{RUST_NAME}({chosen:?})`, which is no Rust name: write an identifier that is no keyword"
            )),
            (None, Some(derived)) => return Some(derived),
            (None, None) => self.add(format!(
                "{what} has a name without letters and digits, so no Rust name can be made of it: rename it in the \
                 schema, or add `@{RUST_NAME}(\"…\")`"
            )),
        }
        None
    }
}

/// The names of one scope, with what has them.
#[derive(Default)]
struct TakenNames(HashMap<String, String>);

impl TakenNames {
    fn reserve(&mut self, name: &str) {
        let owner = format!("`{name}` of `include_actions!`");
        self.0.insert(name.to_owned(), owner);
    }

    /// Takes a name. Returns whether it was free.
    fn take(&mut self, name: &str, what: &str, problems: &mut Problems) -> bool {
        if let Some(other) = self.0.get(name) {
            problems.add(format!(
                "{other} and {what} both have the Rust name `{name}`: rename one in the schema, or choose a name with \
                 `@{RUST_NAME}(\"…\")` on an action or an attribute, and with `type Name = {{ … }};` for a record"
            ));
            return false;
        }
        self.0.insert(name.to_owned(), what.to_owned());
        true
    }
}

#[cfg(test)]
mod tests;
