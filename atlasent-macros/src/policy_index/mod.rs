//! The index of the policies that `atlasent_build::policies` writes in a build script. Without one,
//! nothing is checked.
//!
//! `atlasent-build/src/index.rs` documents the format.

mod check;
mod constant;
mod declaration;
mod kind;
mod literal;
mod record;
mod types;

use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::rc::Rc;
use std::time::SystemTime;

pub(crate) use check::{Given, Subject, check_action};
pub(crate) use constant::{ConstantChecks, ConstantName};
pub(crate) use declaration::Declaration;
pub(crate) use literal::check_id;
pub(crate) use record::check_record;
pub(crate) use types::TypeChecks;

use kind::{DeclaredKey, Kind};

/// The variable that the build script sets for the compiler.
const VARIABLE: &str = "ATLASENT_POLICY_INDEX";

/// The first line of an index.
const HEADER: &str = "atlasent-policy-index 1";

/// The actions that the schema of a folder declares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// The folder of the policies, for messages.
    folder: String,
    actions: Vec<DeclaredAction>,
    /// The ids of the entity types that the schema declares as `enum`.
    ids: HashMap<String, Vec<String>>,
}

/// An action, with the keys of its context.
#[derive(Debug, PartialEq, Eq)]
struct DeclaredAction {
    name: String,
    keys: Vec<DeclaredKey>,
}

/// Returns the index of the crate that is compiled, `None` if its build script sets none.
///
/// The error says why the index cannot be read. The macros report it, since code that looks checked
/// has to be checked.
pub(crate) fn load() -> Result<Option<Rc<Index>>, String> {
    type Loaded = (OsString, Option<SystemTime>, Rc<Index>);
    thread_local! {
        /// Compilers expand many macros in one process, and editors those of many crates.
        static LAST: RefCell<Option<Loaded>> = const { RefCell::new(None) };
    }
    let Some(path) = env::var_os(VARIABLE) else {
        return Ok(None);
    };
    let changed = fs::metadata(&path).and_then(|file| file.modified()).ok();
    let same = |(other, time, _): &&Loaded| *other == path && *time == changed;
    let last = LAST.with_borrow(|last| last.as_ref().filter(same).map(|last| Rc::clone(&last.2)));
    if last.is_some() {
        return Ok(last);
    }
    let unreadable = |why: String| {
        let path = path.display();
        format!(
            "the policy index `{path}`, which `{VARIABLE}` names, cannot be read ({why}): build the package with `cargo`, \
             and use the same version of `atlasent` and `atlasent-build`"
        )
    };
    let text = fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let index = Index::parse(&text).map_err(unreadable)?;
    let index = Rc::new(index);
    LAST.set(Some((path, changed, Rc::clone(&index))));
    Ok(Some(index))
}

impl Index {
    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(format!("its first line is not `{HEADER}`"));
        }
        let mut index = Self {
            folder: String::new(),
            actions: Vec::new(),
            ids: HashMap::new(),
        };
        for line in lines {
            index
                .parse_line(line)
                .ok_or_else(|| format!("it has the line `{line}`"))?;
        }
        Ok(index)
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "schema" | "doc" => {}
            "folder" => self.folder = unescape(rest),
            "enum" => {
                let (name, id) = rest.split_once(' ')?;
                self.ids
                    .entry(name.to_owned())
                    .or_default()
                    .push(unescape(id));
            }
            "action" => self.actions.push(DeclaredAction {
                name: unescape(rest),
                keys: Vec::new(),
            }),
            "required" | "optional" => {
                let (kind, name) = rest.split_once(' ')?;
                self.actions.last_mut()?.keys.push(DeclaredKey {
                    name: unescape(name),
                    kind: Kind::parse(kind)?,
                    is_required: word == "required",
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn action(&self, name: &str) -> Option<&DeclaredAction> {
        self.actions.iter().find(|action| action.name == name)
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_actions_keys_and_types() {
        let text = "atlasent-policy-index 1\nschema 5e0c\nfolder my policies\n\
            enum Bank::Team the\\nblue\nenum Bank::Team red\naction a b\\\\\\nc\ndoc d\n\
            required Set<Set<Entity<Bank::Team>>> the teams\ndoc e f\noptional Long n\naction z\n";
        let index = Index::parse(text).unwrap();
        assert_eq!(index.folder, "my policies");
        let action = index.action("a b\\\nc").unwrap();
        let shown: Vec<String> = action.keys.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["the teams: Set<Set<Bank::Team>>", "n?: Long"]);
        assert_eq!(index.ids["Bank::Team"], ["the\nblue", "red"]);
        assert_eq!(index.action("z").unwrap().keys, []);
    }

    #[test]
    fn an_unknown_format_is_an_error() {
        let error = |text: &str| Index::parse(text).unwrap_err();
        assert!(error("").contains("first line"));
        assert!(error("atlasent-policy-index 2\n").contains("first line"));
        for line in [
            "action",
            "enum Team",
            "colour a",
            "required Long n",
            "action a\nrequired Shape n",
        ] {
            let text = format!("{HEADER}\n{line}");
            let last = line.lines().last().unwrap();
            assert!(
                error(&text).contains(&format!("the line `{last}`")),
                "{line}"
            );
        }
    }
}
