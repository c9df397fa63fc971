//! The size limits of a policy set. Larger texts are rejected before they are read or parsed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::error::{PolicyProblem, Source};

/// The largest policy text, and the largest schema, in bytes: 1 MiB.
pub(super) const MAX_TEXT: usize = 1 << 20;

/// The largest total of all policy texts of a set, in bytes: 16 MiB.
pub(super) const MAX_TEXTS: usize = 16 << 20;

/// The largest text of entities, in bytes: 64 MiB, which is some 400,000 agents with a group each.
pub(super) const MAX_ENTITIES: usize = 64 << 20;

/// The most policy texts of a set.
pub(super) const MAX_SOURCES: usize = 1_000;

/// The most policies of a set.
pub(super) const MAX_POLICIES: usize = 10_000;

/// Returns a problem for each limit that the texts of a set exceed.
pub(super) fn exceeded<'s>(
    policies: impl Iterator<Item = &'s Source> + Clone,
    schemas: &'s [Source],
    entities: &'s [Source],
) -> Vec<PolicyProblem> {
    let texts = policies.clone().chain(schemas);
    let sized = texts.map(|source| (source, MAX_TEXT));
    let sized = sized.chain(entities.iter().map(|source| (source, MAX_ENTITIES)));
    let mut problems: Vec<PolicyProblem> = sized
        .filter(|(source, limit)| source.text.len() > *limit)
        .map(|(source, limit)| source.problem(too_large(limit)))
        .collect();
    let count = policies.clone().count();
    if count > MAX_SOURCES {
        problems.push(of_set(&format!(
            "{count} policy texts are more than the {MAX_SOURCES} that a set may have: join some"
        )));
    }
    let total = policies.map(|source| source.text.len());
    if total.fold(0, usize::saturating_add) > MAX_TEXTS {
        problems.push(of_set(&too_large_together()));
    }
    problems
}

/// Returns the problem of a set with too many policies.
pub(super) fn too_many(policies: usize) -> Option<PolicyProblem> {
    (policies > MAX_POLICIES).then(|| {
        of_set(&format!(
            "{policies} policies are more than the {MAX_POLICIES} that a set may have: \
             name groups of agents, actions or resources instead of each"
        ))
    })
}

/// Reads a UTF-8 file of at most `limit` bytes.
pub(super) fn read_file(path: &Path, limit: usize) -> io::Result<String> {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(limit as u64 + 1)
        .read_to_string(&mut text)?;
    if text.len() > limit {
        return Err(io::Error::other(too_large(limit)));
    }
    Ok(text)
}

fn too_large(limit: usize) -> String {
    format!("it has more than the {limit} bytes that such a text may have: split it")
}

pub(super) fn too_large_together() -> String {
    format!("the policy texts have more than {MAX_TEXTS} bytes together: split the set")
}

fn of_set(message: &str) -> PolicyProblem {
    PolicyProblem::unplaced("<policies>", message)
}
