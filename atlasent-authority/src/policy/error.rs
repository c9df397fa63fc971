//! The errors of loading a policy set: sources, positions and problems.

use std::fmt;
use std::iter;
use std::sync::Arc;

use miette::Diagnostic;

/// The problems of policies, a schema or entities that cannot be loaded.
///
/// Lists every problem that was found, not only the first one. Its text has one line for each.
///
/// ```
/// use atlasent_authority::Policies;
///
/// let error = Policies::parse("permit (principal, action, resource)\nwhen { context.region = \"eu\" };")
///     .unwrap_err();
/// let problem = &error.problems()[0];
/// assert_eq!((problem.line(), problem.column()), (Some(2), Some(8)));
/// assert!(error.to_string().starts_with("<policies>:2:8: '=' is not a valid operator in Cedar"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    problems: Vec<PolicyProblem>,
}

impl PolicyError {
    /// Returns every problem: at least one, in the order of the sources.
    #[must_use]
    pub fn problems(&self) -> &[PolicyProblem] {
        &self.problems
    }

    pub(crate) fn new(problems: Vec<PolicyProblem>) -> Self {
        debug_assert!(!problems.is_empty(), "an error without a problem");
        Self { problems }
    }
}

impl From<PolicyProblem> for PolicyError {
    fn from(problem: PolicyProblem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// One error or warning in one source: `deploy.cedar:3:14: unexpected token …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    source: Arc<str>,
    position: Option<(usize, usize)>,
    message: String,
}

impl PolicyProblem {
    /// Returns the name of the file, or the name that the builder was given for the source.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.source
    }

    /// Returns the line, counted from 1, if the problem has a position in the text.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// Returns the column in characters, counted from 1, if the problem has a position in the text.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.position.map(|(_, column)| column)
    }

    /// Returns what is wrong, and what to do about it. Always one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn unplaced(source: impl Into<Arc<str>>, message: impl fmt::Display) -> Self {
        Self {
            source: source.into(),
            position: None,
            message: one_line(&message.to_string()),
        }
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.source, self.message),
            None => write!(f, "{}: {}", self.source, self.message),
        }
    }
}

/// A named text, which the byte offsets of problems refer to.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        // Some editors add a byte order mark, which Cedar would report as an invalid token.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self {
            name: name.into(),
            text,
        }
    }

    pub(super) fn problem_at(&self, offset: usize, message: impl fmt::Display) -> PolicyProblem {
        PolicyProblem {
            source: Arc::clone(&self.name),
            position: Some(self.position(offset)),
            message: one_line(&message.to_string()),
        }
    }

    pub(super) fn problem(&self, message: impl fmt::Display) -> PolicyProblem {
        PolicyProblem::unplaced(Arc::clone(&self.name), message)
    }

    /// Returns the problems in `error` and in the errors related to it. Cedar reports several
    /// errors as one with related ones. `fallback` is the offset of an error that has none.
    pub(super) fn problems_of(
        &self,
        error: &dyn Diagnostic,
        fallback: Option<usize>,
    ) -> Vec<PolicyProblem> {
        let label = error.labels().and_then(|mut labels| labels.next());
        let mut message = error.to_string();
        for cause in causes(error) {
            let cause = cause.to_string();
            if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        if let Some(expected) = label.as_ref().and_then(|label| label.label()) {
            message = format!("{message}, {expected}");
        }
        if let Some(help) = error.help() {
            message = format!("{message} ({help})");
        }
        let offset = label.map(|label| label.offset()).or(fallback);
        let first = match offset {
            Some(offset) => self.problem_at(offset, message),
            None => self.problem(message),
        };
        let related = error.related().into_iter().flatten();
        iter::once(first)
            .chain(related.flat_map(|error| self.problems_of(error, fallback)))
            .collect()
    }

    /// Returns `file:line:column`, for messages about a second place.
    pub(super) fn place(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        format!("{}:{line}:{column}", self.name)
    }

    /// Returns the line and the column in characters of a byte offset, both counted from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    /// Returns the byte offset of a position from `serde_json`: line from 1, column in bytes from
    /// 1.
    pub(super) fn offset_of_json(&self, line: usize, column: usize) -> usize {
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        start + column.saturating_sub(1)
    }
}

impl fmt::Debug for Source {
    /// The name only: a text can be long, and entities can be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

fn causes<'e>(
    error: &'e dyn Diagnostic,
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    iter::successors(error.source(), |cause| cause.source())
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_from_one_and_columns_in_characters() {
        let source = Source::new("a.cedar", "// früh\r\n// 日本 x\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(source.text.find('h').unwrap()), (1, 7));
        assert_eq!(source.position(source.text.find('x').unwrap()), (2, 7));
        assert_eq!(source.position(source.text.len()), (3, 1));
        assert_eq!(source.position(usize::MAX), (3, 1));
    }

    #[test]
    fn an_offset_inside_a_character_names_that_character() {
        let source = Source::new("a.cedar", "日本");
        assert_eq!(source.position(4), (1, 2));
    }

    #[test]
    fn a_byte_order_mark_does_not_count() {
        assert_eq!(Source::new("a.cedar", "\u{feff}permit").text, "permit");
    }

    #[test]
    fn a_problem_is_one_line_whatever_its_message() {
        let problem = PolicyProblem::unplaced("a.cedar", "first\n  second");
        assert_eq!(problem.to_string(), "a.cedar: first second");
    }
}
