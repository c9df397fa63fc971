//! The actions that code performs, beside those that the policies know.

use std::collections::BTreeSet;
use std::path::PathBuf;

use atlasent::coverage::PolicyOutline;
use atlasent_authority::Policies;
use serde_json::{Value, json};

use super::super::sites;
use crate::exit::Failure;

/// The difference between the actions in code and the actions of the policies.
pub(super) struct Actions {
    pub(super) without_code: Vec<ActionWithoutCode>,
    pub(super) denied: Vec<DeniedAction>,
}

/// An action that the policies know and no code performs.
pub(super) struct ActionWithoutCode {
    pub(super) name: String,
    /// Where the policies name it.
    pub(super) source: String,
}

/// An action in code that no policy can allow.
pub(super) struct DeniedAction {
    pub(super) name: String,
    pub(super) why: &'static str,
}

impl Actions {
    /// Compares the actions in these files with the policies.
    pub(super) fn read(files: &[PathBuf], policies: &Policies) -> Result<Self, Failure> {
        let mut in_code = BTreeSet::new();
        for file in files {
            in_code.extend(sites::actions(file)?);
        }
        let outline = PolicyOutline::from(policies);
        let known = outline
            .actions()
            .filter(|action| !in_code.contains(*action));
        let without_code = known.map(|action| ActionWithoutCode {
            name: action.to_owned(),
            source: outline.source(action).unwrap_or_default().to_owned(),
        });
        let without_code = without_code.collect();
        let denied = in_code.into_iter().filter_map(|name| {
            let why = outline.denial(&name)?;
            Some(DeniedAction { name, why })
        });
        Ok(Self {
            denied: denied.collect(),
            without_code,
        })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.without_code.is_empty() && self.denied.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let without: Vec<Value> = (self.without_code.iter())
            .map(|action| json!({ "action": action.name, "source": action.source }))
            .collect();
        let denied: Vec<Value> = (self.denied.iter())
            .map(|action| json!({ "action": action.name, "why": action.why }))
            .collect();
        json!({ "without_code": without, "denied": denied })
    }
}
