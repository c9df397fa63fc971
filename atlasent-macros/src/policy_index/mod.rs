//! The index of the policies that `atlasent_build::policies` writes in a build script. Without one,
//! nothing is checked.
//!
//! `atlasent-build/src/index.rs` documents the format.

mod check;
mod types;

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::rc::Rc;
use std::time::SystemTime;

pub(crate) use check::{Subject, check};
pub(crate) use types::TypeChecks;

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
}

/// An action, with the keys of its context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeclaredAction {
    name: String,
    keys: Vec<DeclaredKey>,
}

/// A key of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredKey {
    name: String,
    kind: Kind,
    is_required: bool,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Long,
    String,
    Decimal,
    Ipaddr,
    Datetime,
    Duration,
    Set(Box<Kind>),
    Record,
    Entity(String),
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

impl DeclaredAction {
    fn key(&self, name: &str) -> Option<&DeclaredKey> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        let inside = |outer: &str| text.strip_prefix(outer)?.strip_suffix('>');
        Some(match text {
            "Bool" => Self::Bool,
            "Long" => Self::Long,
            "String" => Self::String,
            "decimal" => Self::Decimal,
            "ipaddr" => Self::Ipaddr,
            "datetime" => Self::Datetime,
            "duration" => Self::Duration,
            "Record" => Self::Record,
            _ => match inside("Set<") {
                Some(element) => Self::Set(Box::new(Self::parse(element)?)),
                None => Self::Entity(inside("Entity<")?.to_owned()),
            },
        })
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
        let text = "atlasent-policy-index 1\nschema 5e0c\nfolder my policies\naction a b\\\\\\nc\ndoc d\n\
            required Set<Set<Entity<Bank::Team>>> the teams\ndoc e f\noptional Long n\naction z\n";
        let index = Index::parse(text).unwrap();
        assert_eq!(index.folder, "my policies");
        let action = index.action("a b\\\nc").unwrap();
        let teams = action.key("the teams").unwrap();
        let set = |kind| Kind::Set(Box::new(kind));
        assert_eq!(teams.kind, set(set(Kind::Entity("Bank::Team".to_owned()))));
        assert!(teams.is_required);
        assert!(!action.key("n").unwrap().is_required);
        assert_eq!(index.action("z").unwrap().keys, []);
    }

    #[test]
    fn an_unknown_format_is_an_error() {
        let error = |text: &str| Index::parse(text).unwrap_err();
        assert!(error("").contains("first line"));
        assert!(error("atlasent-policy-index 2\n").contains("first line"));
        for line in [
            "action",
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
