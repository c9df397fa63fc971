//! How the process ends: its exit code, and the one line on standard error of a failure, or the findings of a command whose answer is no.

use std::io;
use std::process::ExitCode;

use crate::output::{self, Output};

/// Why a command failed. The contract's two kinds of exit code, so that a script can tell a token that is no good, or an answer
/// that is no, from a question that was never put.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The token is refused: exit code 1.
    Refused(String),
    /// The command did its work, and the answer is no: its findings, on standard output, and exit code 1.
    Negative(Output),
    /// Bad usage, keys or configuration: exit code 2.
    Misuse(String),
}

impl Failure {
    /// A refused token, and why.
    pub(crate) fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
    }

    /// Usage, keys or configuration that will not do, and why.
    pub(crate) fn misuse(why: impl ToString) -> Self {
        Self::Misuse(why.to_string())
    }
}

impl Failure {
    /// There is nobody to read the answer.
    pub(crate) fn unprintable(error: io::Error) -> Self {
        Self::misuse(format!("cannot write to standard output: {error}"))
    }
}

/// Prints what a command returned, and says how the process ends.
pub(crate) fn finish(result: Result<Output, Failure>) -> ExitCode {
    let (output, code) = match result {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(Failure::Negative(findings)) => (findings, ExitCode::from(1)),
        Err(Failure::Refused(why)) => return failed("refused", &why, 1),
        Err(Failure::Misuse(why)) => return failed("error", &why, 2),
    };
    match output.print() {
        Ok(()) => code,
        Err(error) => finish(Err(Failure::unprintable(error))),
    }
}

fn failed(kind: &str, why: &str, code: u8) -> ExitCode {
    output::say(kind, why);
    ExitCode::from(code)
}
