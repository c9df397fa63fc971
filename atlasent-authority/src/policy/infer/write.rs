//! Writing the schema in Cedar's own syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::mem;

use super::shape::{Action, Uid, is_action_type};
use super::types::{Attribute, Id, Kind};
use super::{Inference, PolicyProblem};

const HEADER: &str = "\
// Inferred from the policies. Complete it before you use it. With a schema, a request is denied if
// its action or a key of its context is not declared, or if it lacks a key without `?`: add what
// the code sends, also `environment` and `amount` where requests set them.
";

const NO_ACTION: &str = "
// No policy names an action: declare each one that the code performs, or every request is denied.
";

const FILL_IN: &str = " // fill in: no policy shows the type";

/// Returns the schema. Types that contain themselves become problems.
pub(super) fn schema(inference: &mut Inference<'_>) -> String {
    let mut writer = Writer {
        inference,
        is_unknown: false,
        open: Vec::new(),
    };
    writer.schema()
}

struct Writer<'i, 'p> {
    inference: &'i mut Inference<'p>,
    /// Whether the type that is being written is not known.
    is_unknown: bool,
    /// The types that are being written, from the outermost.
    open: Vec<Id>,
}

/// The declarations of a namespace.
#[derive(Default)]
struct Namespace {
    entities: Vec<(String, Id, Option<Id>)>,
    actions: Vec<Uid>,
}

impl Writer<'_, '_> {
    fn schema(&mut self) -> String {
        let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
        for (name, attributes, tags) in self.inference.types.entities() {
            if !is_action_type(name) {
                let namespace = namespaces.entry(namespace_of(name).to_owned()).or_default();
                namespace.entities.push((name.to_owned(), attributes, tags));
            }
        }
        for uid in self.inference.actions.0.keys() {
            let namespace = namespaces.entry(namespace_of(&uid.type_name).to_owned());
            namespace.or_default().actions.push(uid.clone());
        }
        let mut text = HEADER.to_owned();
        if self.inference.actions.0.is_empty() {
            text.push_str(NO_ACTION);
        }
        for (name, declarations) in namespaces {
            let indent = if name.is_empty() { "" } else { "  " };
            if !name.is_empty() {
                let _ = write!(text, "\nnamespace {name} {{");
            }
            for (name, attributes, tags) in declarations.entities {
                text.push('\n');
                self.entity(&name, attributes, tags, indent, &mut text);
            }
            for uid in declarations.actions {
                text.push('\n');
                self.action(&uid, indent, &mut text);
            }
            if !name.is_empty() {
                text.push_str("}\n");
            }
        }
        text
    }

    fn entity(
        &mut self,
        name: &str,
        attributes: Id,
        tags: Option<Id>,
        indent: &str,
        text: &mut String,
    ) {
        let groups: Vec<String> = (self.inference.memberships.iter())
            .filter(|(member, _)| member == name)
            .map(|(_, group)| group.clone())
            .collect();
        let _ = write!(text, "{indent}entity {}", base_name(name));
        if !groups.is_empty() {
            let _ = write!(text, " in [{}]", groups.join(", "));
        }
        let record = self.type_text(attributes, indent);
        if record != "{}" {
            let _ = write!(text, " = {record}");
        }
        let mut comment = "";
        if let Some(tags) = tags {
            let (tags, is_unknown) = self.line(tags, indent);
            let _ = write!(text, " tags {tags}");
            comment = if is_unknown { FILL_IN } else { "" };
        }
        let _ = writeln!(text, ";{comment}");
    }

    fn action(&mut self, uid: &Uid, indent: &str, text: &mut String) {
        let Some(action) = self.inference.actions.0.get_mut(uid) else {
            return;
        };
        let Action {
            parents,
            principals,
            resources,
            context,
            is_group,
        } = mem::take(action);
        let _ = write!(text, "{indent}action {}", quoted(&uid.id));
        if !parents.is_empty() {
            let parents: Vec<String> = parents.iter().map(|parent| group(uid, parent)).collect();
            let _ = write!(text, " in [{}]", parents.join(", "));
        }
        if is_group {
            text.push_str(";\n");
            return;
        }
        let context = self.type_text(context, &format!("{indent}  "));
        let (principals, resources) = (listed(&principals), listed(&resources));
        let _ = writeln!(
            text,
            " appliesTo {{\n{indent}  principal: {principals},\n{indent}  resource: {resources},\n\
             {indent}  context: {context},\n{indent}}};"
        );
    }

    /// Returns the text of a type, and whether the type is not known.
    fn line(&mut self, id: Id, indent: &str) -> (String, bool) {
        let outer = mem::take(&mut self.is_unknown);
        let text = self.type_text(id, indent);
        (text, mem::replace(&mut self.is_unknown, outer))
    }

    fn type_text(&mut self, id: Id, indent: &str) -> String {
        let types = &self.inference.types;
        let id = types.representative(id);
        let mut guesses = self.inference.guesses.iter();
        self.is_unknown |= guesses.any(|guess| types.representative(*guess) == id);
        if self.open.contains(&id) {
            let message = "no type fits the policies: an attribute would have to contain itself";
            let problem = PolicyProblem::unplaced("<policies>", message);
            self.inference.problems.push(problem);
            return "String".to_owned();
        }
        let kind = types.kind(id);
        self.open.push(id);
        let text = match kind {
            Kind::Bool => "Bool".to_owned(),
            Kind::Long => "Long".to_owned(),
            Kind::Text => "String".to_owned(),
            Kind::Extension(name) => name.to_owned(),
            Kind::Entity(name) => name,
            Kind::Set(element) => format!("Set<{}>", self.type_text(element, indent)),
            Kind::Record(attributes) => self.record(&attributes, indent),
            Kind::Unknown => {
                self.is_unknown = true;
                "String".to_owned()
            }
            Kind::Ordered => {
                self.is_unknown = true;
                "Long".to_owned()
            }
        };
        self.open.pop();
        text
    }

    fn record(&mut self, attributes: &BTreeMap<String, Attribute>, indent: &str) -> String {
        if attributes.is_empty() {
            return "{}".to_owned();
        }
        let inner = format!("{indent}  ");
        let mut text = "{\n".to_owned();
        for (name, attribute) in attributes {
            let (kind, is_unknown) = self.line(attribute.id, &inner);
            let mark = if attribute.is_required() { "" } else { "?" };
            let comment = match is_unknown {
                true => FILL_IN,
                false if attribute.is_tested && attribute.is_required() => {
                    " // required: a policy reads it without a `has` before"
                }
                false => "",
            };
            let name = attribute_name(name);
            let _ = writeln!(text, "{inner}{name}{mark}: {kind},{comment}");
        }
        let _ = write!(text, "{indent}}}");
        text
    }
}

fn namespace_of(type_name: &str) -> &str {
    type_name
        .rsplit_once("::")
        .map_or("", |(namespace, _)| namespace)
}

fn base_name(type_name: &str) -> &str {
    type_name
        .rsplit_once("::")
        .map_or(type_name, |(_, name)| name)
}

/// Returns a group as the declaration of an action names it.
fn group(action: &Uid, group: &Uid) -> String {
    let id = quoted(&group.id);
    match action.type_name == group.type_name {
        true => id,
        false => format!("{}::{id}", group.type_name),
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [name] => (*name).to_owned(),
        names => format!("[{}]", names.join(", ")),
    }
}

/// Returns the name of an attribute, in quotes unless it is a plain word.
fn attribute_name(name: &str) -> String {
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|other| other.is_ascii_alphanumeric() || other == '_');
    // Words of Cedar's syntax.
    let reserved = [
        "true", "false", "if", "then", "else", "in", "is", "like", "has",
    ];
    if is_word && !reserved.contains(&name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
