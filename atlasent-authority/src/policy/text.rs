//! The policies as they are written in their files, for tools that show them.

use atlasent::Decision;

use super::Policies;
use super::annotations::AnnotatedPolicy;

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
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    pub fn texts(&self) -> impl Iterator<Item = PolicyText<'_>> {
        let mut policies: Vec<&AnnotatedPolicy> = self.by_id.values().collect();
        policies.sort_by_key(|policy| (&policy.source.name, policy.span.start));
        policies.into_iter().map(PolicyText)
    }
}

/// A policy as it is written in its file; from [`Policies::texts`].
#[derive(Clone, Copy, Debug)]
pub struct PolicyText<'p>(&'p AnnotatedPolicy);

impl<'p> PolicyText<'p> {
    /// Returns the id of the policy.
    #[must_use]
    pub fn id(self) -> &'p str {
        &self.0.id
    }

    /// Returns what the policy decides when it determines the answer.
    #[must_use]
    pub fn decision(self) -> Decision {
        self.0.decision
    }

    /// Returns the name of the file, or the name that the builder was given for the source.
    #[must_use]
    pub fn file(self) -> &'p str {
        &self.0.source.name
    }

    /// Returns the whole text of the file.
    #[must_use]
    pub fn file_text(self) -> &'p str {
        &self.0.source.text
    }

    /// Returns the line of the first annotation, or of the `permit` or `forbid`, counted from 1.
    #[must_use]
    pub fn first_line(self) -> usize {
        self.0.source.line(self.0.span.start)
    }

    /// Returns the line of the semicolon, counted from 1.
    #[must_use]
    pub fn last_line(self) -> usize {
        self.0.source.line(self.0.span.end)
    }
}
