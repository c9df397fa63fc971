//! Path patterns with `like`, which compares text: `..` leads out of the folder that a text starts
//! with.

use serde_json::Value;

use super::conditions::context_attribute;
use super::path::AttributePath;
use super::{PolicyProblem, Subject, parts};

/// Returns the patterns for the content of a folder, unless a policy of the set forbids `..` in the
/// same attribute.
pub(super) fn on_paths(subjects: &[Subject<'_>]) -> Vec<PolicyProblem> {
    let found: Vec<(&Subject<'_>, Like)> = subjects
        .iter()
        .flat_map(|subject| {
            let mut likes = Vec::new();
            collect(&subject.json, &mut likes);
            likes.into_iter().map(move |like| (subject, like))
        })
        .collect();
    let is_guarded = |subject: &Subject<'_>, like: &Like| {
        found.iter().any(|(other, guard)| {
            let same_policy = other.annotated.id == subject.annotated.id;
            guard.read == like.read
                && guard.pattern.contains("..")
                && (same_policy || !other.annotated.decision.is_allow())
        })
    };
    found
        .iter()
        .filter(|(subject, like)| like.is_folder() && !is_guarded(subject, like))
        .map(|(subject, like)| {
            let Like { read, pattern, .. } = like;
            let folder = like.before_wildcard.as_deref().unwrap_or_default();
            subject.problem_at(
                &read.to_string(),
                format!(
                    "policy `{}` compares `{read}` with `{pattern}`, which also matches `{folder}../x`: `like` \
                     compares text, not paths; refuse `..` first, with `!({read} like \"*..*\") && …`",
                    subject.annotated.id
                ),
            )
        })
        .collect()
}

/// `read like "pattern"`.
struct Like {
    read: AttributePath,
    pattern: String,
    /// The text before the wildcard at the end of the pattern, if the pattern ends with one.
    before_wildcard: Option<String>,
}

impl Like {
    /// Returns whether the pattern is for the content of a folder: a path, a separator, a wildcard.
    fn is_folder(&self) -> bool {
        let folder = self.before_wildcard.as_deref();
        let Some(inner) = folder.and_then(|folder| folder.strip_suffix(['/', '\\'])) else {
            return false;
        };
        let inner = inner.trim_start_matches(['*', '/', '\\', '.', '~']);
        // `/*`, `./*` and `https://host/*` cannot be left by `..`.
        let host = inner.split_once("://").map(|(_, host)| host);
        let is_whole = inner.is_empty() || host.is_some_and(|host| !host.contains('/'));
        let begins_as_path = ["/", "./", "~/", "file:///"];
        let drive = self.pattern.as_bytes().get(1..3);
        let is_path = begins_as_path
            .iter()
            .any(|start| self.pattern.starts_with(start))
            || drive == Some(br":\")
            || is_path_name(self.read.last());
        is_path && !is_whole
    }
}

/// Returns whether an attribute of this name holds a path.
fn is_path_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| {
        ["path", "file", "filename", "dir", "directory", "folder"]
            .iter()
            .any(|known| word == *known || word.strip_suffix('s') == Some(known))
            || word.ends_with("path")
    })
}

fn collect(json: &Value, likes: &mut Vec<Like>) {
    if let Some(like) = json.get("like")
        && let (Some(left), Some(pattern)) = (like.get("left"), like.get("pattern"))
        && let Some(read) = context_attribute(left)
        && let Some(pattern) = pattern.as_array()
    {
        let (is_open, before) = match pattern.split_last() {
            Some((last, before)) => (is_wildcard(last), before),
            None => (false, pattern.as_slice()),
        };
        likes.push(Like {
            read,
            pattern: text(pattern),
            before_wildcard: is_open.then(|| text(before)),
        });
    }
    for part in parts(json) {
        collect(part, likes);
    }
}

fn is_wildcard(part: &Value) -> bool {
    part.as_str() == Some("Wildcard")
}

/// Returns the pattern as it is written: Cedar's JSON lists literals and wildcards.
fn text(parts: &[Value]) -> String {
    let parts = parts.iter().map(|part| {
        if is_wildcard(part) {
            return "*".to_owned();
        }
        let literal = part.get("Literal").and_then(Value::as_str);
        literal.unwrap_or_default().replace('*', r"\*")
    });
    parts.collect()
}
