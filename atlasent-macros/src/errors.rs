//! Collects the errors of one expansion, so that a user who made two mistakes sees both at once.

/// The errors that an expansion has found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds an error.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Returns the value of a result, or collects its error and returns `None`.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Whether no error was collected.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns all collected errors as one.
    pub(crate) fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// What the unit tests of the parsers share.
#[cfg(test)]
pub(crate) mod testing {
    /// Returns the texts of all errors, or an empty list for a valid input.
    pub(crate) fn texts<T>(result: syn::Result<T>) -> Vec<String> {
        match result {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    /// Returns the text of the only error.
    pub(crate) fn one_text<T>(result: syn::Result<T>) -> String {
        let mut texts = texts(result);
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts.remove(0)
    }
}
