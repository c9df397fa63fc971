//! How the process ends: its exit code, and the one line on standard error of a failure.

use std::process::ExitCode;

use crate::output::{self, Output};

/// Why a command failed. The contract's two kinds, each with an exit code of its own, so that a script can tell a
/// token, a bundle or a request that is no good from a question that was never put.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The token is refused: exit code 1.
    Refused(String),
    /// The answer is no, and a report says why, on standard output: exit code 1.
    Report(String),
    /// Bad usage, keys or configuration: exit code 2.
    Misuse(String),
}

impl Failure {
    /// A refused token, and why.
    pub(crate) fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
    }

    /// An answer of no whose reasons are many.
    pub(crate) fn report(text: impl Into<String>) -> Self {
        Self::Report(text.into())
    }

    /// Usage, keys or configuration that will not do, and why.
    pub(crate) fn misuse(why: impl ToString) -> Self {
        Self::Misuse(why.to_string())
    }
}

/// Prints what a command returned, and says how the process ends.
pub(crate) fn finish(result: Result<Output, Failure>) -> ExitCode {
    match result.and_then(|output| output.print()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(why)) => {
            output::say("refused", &why);
            ExitCode::from(1)
        }
        Err(Failure::Report(text)) => match output::tell(&text) {
            Ok(()) => ExitCode::from(1),
            Err(failure) => finish(Err(failure)),
        },
        Err(Failure::Misuse(why)) => {
            output::say("error", &why);
            ExitCode::from(2)
        }
    }
}
