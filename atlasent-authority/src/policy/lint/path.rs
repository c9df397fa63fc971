//! The attributes that policies read: `context.change.author`.

use std::fmt;

use serde_json::Value;

/// The variable that an attribute is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    Context,
    Principal,
    Resource,
}

/// An attribute, or one inside another: `context.change.author`. It displays as it is written in a
/// policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttributePath {
    pub(super) root: Root,
    /// The names, from the outermost to the innermost.
    pub(super) names: Vec<String>,
}

impl AttributePath {
    pub(super) fn root(&self) -> Root {
        self.root
    }

    /// Returns whether the path is more than a variable.
    pub(super) fn is_attribute(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns the innermost name.
    pub(super) fn last(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// Returns the attribute of the variable itself.
    pub(super) fn attribute(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Returns the expression that tests for the attribute: `context.change has author`.
    pub(super) fn guard(&self) -> String {
        match self.names.split_last() {
            Some((last, [])) => format!("{} has {}", self.root, name_or_text(last)),
            Some((last, rest)) => {
                let outer = Self {
                    root: self.root,
                    names: rest.to_vec(),
                };
                format!("{outer} has {}", name_or_text(last))
            }
            None => self.root.to_string(),
        }
    }

    /// Returns the path that an expression is, if it is one.
    pub(super) fn parse(expression: &Value) -> Option<Self> {
        if let Some(name) = expression.get("Var") {
            let root = match name.as_str()? {
                "context" => Root::Context,
                "principal" => Root::Principal,
                "resource" => Root::Resource,
                _ => return None,
            };
            let names = Vec::new();
            return Some(Self { root, names });
        }
        let access = expression.get(".")?;
        let outer = Self::parse(access.get("left")?)?;
        Some(outer.then(access.get("attr")?.as_str()?))
    }

    /// Returns the attribute `name` of this one.
    pub(super) fn then(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Returns the attribute that this one is inside of, if it is inside of one.
    pub(super) fn outer(&self) -> Option<Self> {
        let (_, rest) = self.names.split_last()?;
        let names = rest.to_vec();
        (!names.is_empty()).then_some(Self {
            root: self.root,
            names,
        })
    }
}

/// Returns the elements of an array or the members of an object.
pub(in crate::policy) fn parts(json: &Value) -> impl Iterator<Item = &Value> {
    let listed = json.as_array().into_iter().flatten();
    let named = json.as_object().into_iter().flat_map(|json| json.values());
    listed.chain(named)
}

/// Returns the variable or attribute that an expression is, as it is written in a policy; an
/// ellipsis for any other expression.
pub(in crate::policy) fn path(expression: &Value) -> String {
    AttributePath::parse(expression).map_or_else(|| "…".to_owned(), |read| read.to_string())
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Context => "context",
            Self::Principal => "principal",
            Self::Resource => "resource",
        })
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        for name in &self.names {
            if is_name(name) {
                write!(f, ".{name}")?;
            } else {
                write!(f, "[{}]", name_or_text(name))?;
            }
        }
        Ok(())
    }
}

fn name_or_text(name: &str) -> String {
    if is_name(name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.escape_debug())
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}
