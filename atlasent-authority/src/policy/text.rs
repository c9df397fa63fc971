//! The policies as they are written in their files, for tools that show them.

use atlasent::Decision;

use super::Policies;
use super::annotations::AnnotatedPolicy;
use super::error::Source;

impl Policies {
    /// Returns the policies as they are written, by file and position.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::parse("\n@id(\"all\")\npermit (principal, action, resource);")?;
    /// let policy = policies.texts().next().unwrap();
    /// assert_eq!((policy.id(), policy.file()), ("all", "<policies>"));
    /// assert_eq!((policy.first_line(), policy.last_line()), (2, 3));
    /// assert!(policy.text().starts_with("@id") && policy.text().ends_with(';'));
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    pub fn texts(&self) -> impl Iterator<Item = PolicyText<'_>> {
        let mut policies: Vec<&AnnotatedPolicy> = self.by_id.values().collect();
        policies.sort_by_key(|policy| (&policy.source.name, policy.span.start));
        let mut lines = Lines::default();
        policies.into_iter().map(move |policy| {
            lines.enter(&policy.source);
            PolicyText {
                policy,
                first_line: lines.line_at(policy.span.start),
                last_line: lines.line_at(policy.span.end),
            }
        })
    }
}

/// Counts the lines of a text up to offsets that grow, so that each byte is read once.
#[derive(Default)]
struct Lines<'p> {
    text: &'p str,
    file: Option<&'p str>,
    offset: usize,
    newlines: usize,
}

impl<'p> Lines<'p> {
    /// Starts at the first line if the source is another one.
    fn enter(&mut self, source: &'p Source) {
        if self.file != Some(&*source.name) {
            *self = Self {
                text: &source.text,
                file: Some(&source.name),
                ..Self::default()
            };
        }
    }

    fn line_at(&mut self, offset: usize) -> usize {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.newlines += passed.matches('\n').count();
        self.offset = offset;
        self.newlines + 1
    }
}

/// A policy as it is written in its file; from [`Policies::texts`].
#[derive(Clone, Copy, Debug)]
pub struct PolicyText<'p> {
    policy: &'p AnnotatedPolicy,
    first_line: usize,
    last_line: usize,
}

impl<'p> PolicyText<'p> {
    /// Returns the id of the policy.
    #[must_use]
    pub fn id(self) -> &'p str {
        &self.policy.id
    }

    /// Returns what the policy decides when it determines the answer.
    #[must_use]
    pub fn decision(self) -> Decision {
        self.policy.decision
    }

    /// Returns the name of the file, or the name that the builder was given for the source.
    #[must_use]
    pub fn file(self) -> &'p str {
        &self.policy.source.name
    }

    /// Returns the text of the policy, with its annotations.
    #[must_use]
    pub fn text(self) -> &'p str {
        let span = self.policy.span.clone();
        self.policy.source.text.get(span).unwrap_or_default()
    }

    /// Returns the whole text of the file.
    #[must_use]
    pub fn file_text(self) -> &'p str {
        &self.policy.source.text
    }

    /// Returns the line of the first annotation, or of the `permit` or `forbid`, counted from 1.
    #[must_use]
    pub fn first_line(self) -> usize {
        self.first_line
    }

    /// Returns the line of the semicolon, counted from 1.
    #[must_use]
    pub fn last_line(self) -> usize {
        self.last_line
    }
}
