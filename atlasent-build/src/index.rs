//! Writes the index that the macros read: the declared actions, their context keys and their types.
//!
//! ```text
//! atlasent-policy-index 1             the format and its version
//! schema 5e0c…                        the digest of the schema
//! folder policies
//! action deploy.production
//! doc Rolls a commit out.             of the action or the key above
//! required Long replicas              a key of the action above
//! optional Set<String> tags
//! ```
//!
//! The last word of a line is the rest of the line, with `\\`, `\n` and `\r` escaped. Types have no
//! blanks: `Bool`, `Long`, `String`, `decimal`, `ipaddr`, `datetime`, `duration`, `Set<type>`,
//! `Record`, `Entity<type>`. `atlasent-macros/src/policy_index/mod.rs` parses the format.

use std::fmt::Write as _;
use std::path::Path;

use atlasent_authority::Policies;
use atlasent_authority::policy::AttributeType;

/// The first line.
const HEADER: &str = "atlasent-policy-index 1";

/// Returns the index, or `None` for policies without a schema.
pub(crate) fn write(policies: &Policies, folder: &Path) -> Option<String> {
    let digest = policies.schema_digest()?;
    let folder = escaped(&folder.display().to_string());
    let mut index = format!("{HEADER}\nschema {digest}\nfolder {folder}\n");
    let mut line = |first: &str, rest: &str| {
        let _ = writeln!(index, "{first} {}", escaped(rest));
    };
    for action in policies.actions() {
        line("action", action.name());
        if let Some(doc) = action.doc() {
            line("doc", doc);
        }
        for attribute in action.context().attributes() {
            let presence = match attribute.is_required() {
                true => "required",
                false => "optional",
            };
            let kind = type_text(&attribute.attribute_type());
            line(&format!("{presence} {kind}"), attribute.name());
            if let Some(doc) = attribute.doc() {
                line("doc", doc);
            }
        }
    }
    Some(index)
}

/// Returns the text of a type. A type of a later version is a record, whose contents are unchecked.
fn type_text(kind: &AttributeType<'_>) -> String {
    match kind {
        AttributeType::Bool => "Bool".to_owned(),
        AttributeType::Long => "Long".to_owned(),
        AttributeType::Text => "String".to_owned(),
        AttributeType::Decimal => "decimal".to_owned(),
        AttributeType::Ipaddr => "ipaddr".to_owned(),
        AttributeType::Datetime => "datetime".to_owned(),
        AttributeType::TimeSpan => "duration".to_owned(),
        AttributeType::Set(set) => format!("Set<{}>", type_text(&set.element())),
        AttributeType::Entity(name) => format!("Entity<{name}>"),
        _ => "Record".to_owned(),
    }
}

/// Returns the text on one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}
