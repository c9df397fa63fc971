//! The exit code of the process, and the output of a failure: one line on standard error, or the
//! findings of a negative result on standard output.

use std::io;
use std::process::ExitCode;

use atlasent_mcp::hook::BLOCKED;

use crate::output::{self, Output};

/// The reason of an exit code other than 0. Scripts distinguish a negative result (1) from a
/// command that could not do its work (2).
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// A refused token, bundle or request, with the reason for standard error: exit code 1.
    Refused(String),
    /// A negative result, with the findings for standard output: exit code 1.
    NegativeResult(Output),
    /// Neither a success nor a negative result, with the findings for standard output: exit code 2.
    #[cfg(feature = "prove")]
    Undecided(Output),
    /// Bad usage, keys or configuration, or a server that gave no usable answer, with the reason
    /// for standard error: exit code 2.
    Misuse(String),
    /// A tool call that a hook blocks, with the answer for standard output and the reason for
    /// standard error: exit code 2. Agents read one of the two. The failure of the authority is
    /// printed on a terminal only, which a person reads: agents give standard error to their model.
    Blocked {
        answer: Output,
        reason: String,
        failure: Option<String>,
    },
}

impl Failure {
    /// Creates [`Refused`](Self::Refused) with a reason.
    pub(crate) fn refused(reason: impl ToString) -> Self {
        Self::Refused(reason.to_string())
    }

    /// Creates [`Misuse`](Self::Misuse) with a reason.
    pub(crate) fn misuse(reason: impl ToString) -> Self {
        Self::Misuse(reason.to_string())
    }

    /// Returns the reason of a failure that has no findings.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) | Self::Misuse(reason) | Self::Blocked { reason, .. } => reason,
            _ => "see the findings",
        }
    }

    /// Creates the failure of a write to standard output.
    pub(crate) fn unwritable_stdout(error: io::Error) -> Self {
        Self::misuse(format!("cannot write to standard output: {error}"))
    }
}

/// Prints the result of a command and returns the exit code.
pub(crate) fn finish(result: Result<Output, Failure>) -> ExitCode {
    let (output, code) = match result {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(Failure::NegativeResult(findings)) => (findings, ExitCode::from(1)),
        #[cfg(feature = "prove")]
        Err(Failure::Undecided(findings)) => (findings, ExitCode::from(2)),
        Err(Failure::Refused(reason)) => return print_failure("refused", &reason, 1),
        Err(Failure::Misuse(reason)) => return print_failure("error", &reason, 2),
        Err(Failure::Blocked {
            answer,
            reason,
            failure,
        }) => {
            // An answer that cannot be written changes nothing: the exit code blocks the tool.
            let _ = answer.print();
            let code = print_failure("blocked", &reason, BLOCKED);
            if let Some(failure) = failure.filter(|_| output::stderr_is_terminal()) {
                output::print_stderr_line("failure", &failure);
            }
            return code;
        }
    };
    match output.print() {
        Ok(()) => code,
        Err(error) => finish(Err(Failure::unwritable_stdout(error))),
    }
}

fn print_failure(label: &str, reason: &str, code: u8) -> ExitCode {
    output::print_stderr_line(label, reason);
    ExitCode::from(code)
}
