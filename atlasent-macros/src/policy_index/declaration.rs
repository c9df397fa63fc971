//! The types of the keys that a site gives.

use super::kind::{DeclaredKey, Kind};
use super::{ConstantChecks, DeclaredAction};

/// What the schema declares for the keys of a context or of a record.
pub(crate) struct Declaration {
    pub(super) keys: Vec<TypedKey>,
    /// The checks of the constant that names the action.
    pub(crate) constant: Option<ConstantChecks>,
}

/// A key with the types that it may have: one, unless a constant names the action and the actions
/// that it could name declare several.
pub(super) struct TypedKey {
    pub(super) name: String,
    pub(super) types: Vec<KeyType>,
}

/// A type of a key.
pub(super) struct KeyType {
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    /// The actions that declare the type, if there are several types.
    pub(super) actions: Vec<String>,
}

impl Declaration {
    /// The declaration of an action that is known, or of a record.
    pub(super) fn of_keys(keys: &[DeclaredKey]) -> Self {
        let typed = |key: &DeclaredKey| TypedKey {
            name: key.name.clone(),
            types: vec![KeyType::of(key)],
        };
        Self {
            keys: keys.iter().map(typed).collect(),
            constant: None,
        }
    }

    /// The declaration of the keys that a site gives, by the actions that declare them all. If the
    /// constant names another action, its checks fail.
    pub(super) fn of_constant(
        keys: impl Iterator<Item = String>,
        fitting: &[&DeclaredAction],
        checks: ConstantChecks,
    ) -> Self {
        let typed = keys.map(|name| {
            let mut types: Vec<KeyType> = Vec::new();
            for action in fitting {
                let Some(key) = action.keys.iter().find(|key| key.name == name) else {
                    continue;
                };
                let same = |known: &&mut KeyType| {
                    known.kind == key.kind && known.is_required == key.is_required
                };
                if let Some(known) = types.iter_mut().find(same) {
                    known.actions.push(action.name.clone());
                } else {
                    let mut first = KeyType::of(key);
                    first.actions.push(action.name.clone());
                    types.push(first);
                }
            }
            TypedKey { name, types }
        });
        let keys = typed.filter(|key| !key.types.is_empty()).collect();
        Self {
            keys,
            constant: Some(checks),
        }
    }

    /// Returns the key of this name as a schema writes it, if it is required.
    pub(crate) fn required(&self, name: &str) -> Option<String> {
        let key = self.keys.iter().find(|key| key.name == name)?;
        let required = key.types.iter().find(|declared| declared.is_required)?;
        Some(format!("{name}: {}", required.kind))
    }

    /// Returns the types of a key.
    #[cfg(test)]
    pub(super) fn types(&self, name: &str) -> &[KeyType] {
        let key = self.keys.iter().find(|key| key.name == name);
        key.map_or(&[], |key| &key.types)
    }
}

impl KeyType {
    fn of(key: &DeclaredKey) -> Self {
        Self {
            kind: key.kind.clone(),
            is_required: key.is_required,
            actions: Vec::new(),
        }
    }
}
