//! The output of commands, and the escaping of text from outside.

use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::exit::Failure;

/// The result of a command: text for standard output and warnings for standard error.
#[derive(Debug, PartialEq)]
pub(crate) struct Output {
    text: String,
    warnings: Vec<String>,
}

impl Output {
    /// Creates an output from text for standard output, which includes its line ends.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            warnings: Vec::new(),
        }
    }

    /// Appends warnings for standard error.
    pub(crate) fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Prints the text, then the warnings. When standard output cannot be written, no warning is
    /// printed, so that standard error holds the failure's line only.
    pub(crate) fn print(self) -> io::Result<()> {
        match write(&self.text) {
            // A reader such as `head` closed the pipe early: the command still succeeds.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        for warning in &self.warnings {
            print_stderr_line("warning", warning);
        }
        Ok(())
    }
}

/// Whether the other end of an output stream is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Reader {
    /// The text was written.
    Open,
    /// The reader closed the pipe, as `head` does. The command may end with success.
    Closed,
}

/// Prints to standard output at once, for long-running commands.
pub(crate) fn print_now(text: &str) -> Result<Reader, Failure> {
    reader_after(write(text))
}

/// Prints to standard error at once, for commands whose standard output carries events.
pub(crate) fn print_now_to_stderr(text: &str) -> Result<Reader, Failure> {
    reader_after(io::stderr().write_all(text.as_bytes()))
}

fn reader_after(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::Open),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Closed),
        Err(error) => Err(Failure::unwritable_stdout(error)),
    }
}

/// Whether standard output is a terminal, so that a person reads it rather than a program.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal, so that a person reads it rather than a program.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints `label: message` on standard error as one line. Line ends in the message are escaped.
pub(crate) fn print_stderr_line(label: &str, message: &str) {
    let line = format!("{label}: {}\n", escaped(message));
    // A closed standard error cannot be reported anywhere. The exit code still reports the failure.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Escapes the characters that would break the line, move the cursor or change the reading
/// direction.
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| {
            if is_terminal_control(character) {
                character.escape_unicode().to_string()
            } else {
                character.to_string()
            }
        })
        .collect()
}

/// Whether a character controls the terminal instead of being displayed: control characters, line
/// and paragraph separators, and the directional formatting characters of UAX #9.
pub(crate) fn is_terminal_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Quotes a text as an argument for a shell.
pub(crate) fn shell_argument(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if text.bytes().all(is_plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    let text = if text.starts_with('-') {
        format!("./{text}")
    } else {
        text.to_owned()
    };
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_appended() {
        let warned = |texts: [&str; 2]| texts.map(str::to_owned);
        let output = Output::new("")
            .with_warnings(warned(["a", "b"]))
            .with_warnings(warned(["c", "d"]));
        assert_eq!(output.warnings, ["a", "b", "c", "d"]);
    }

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        assert_eq!(escaped("naïve `ü` 漢"), "naïve `ü` 漢");
        assert_eq!(escaped("a\nb\r\u{1b}[31m"), "a\\u{a}b\\u{d}\\u{1b}[31m");
        assert_eq!(
            escaped("\u{9b}31m\u{202e}\u{2028}"),
            "\\u{9b}31m\\u{202e}\\u{2028}"
        );
    }
}
