//! Reading the sites of a program: the JSON of `atlasent::sites()` or of a `RouteTable`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::exit::Failure;

/// A site or a route. Only its action is read.
#[derive(Deserialize)]
struct Entry {
    /// `null` where the action is not named before a request.
    action: Option<String>,
}

/// Returns the actions that a file names.
pub(super) fn actions(file: &Path) -> Result<BTreeSet<String>, Failure> {
    let shown = file.display();
    let text =
        fs::read_to_string(file).map_err(|error| Failure::misuse(format!("`{shown}`: {error}")))?;
    let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|error| {
        Failure::misuse(format!(
            "`{shown}`: {error}: write it with `serde_json::to_string(&atlasent::sites())`"
        ))
    })?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| entry.action)
        .collect())
}
