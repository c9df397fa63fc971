//! What a command prints, and how foreign text is shown without harm.

use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::exit::Failure;

/// How much of an argument an error repeats. A token and a key are longer, so that neither is ever
/// repeated.
const REPEATED: usize = 32;

/// What a command that succeeded prints.
#[derive(Debug, PartialEq)]
pub(crate) struct Output {
    text: String,
    warnings: Vec<String>,
}

impl Output {
    /// Text for standard output, with its line ends.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            warnings: Vec::new(),
        }
    }

    /// Adds warnings for standard error, after those of earlier calls.
    pub(crate) fn warning(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Prints to standard output, then the warnings to standard error: a failure to print stays one
    /// line.
    pub(crate) fn print(self) -> io::Result<()> {
        match write(&self.text) {
            // The reader has enough. That is no failure of the command.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        for warning in &self.warnings {
            say("warning", warning);
        }
        Ok(())
    }
}

/// Whether standard output still has a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Reader {
    /// The text was written.
    Listening,
    /// The other end of the pipe is closed, as by `head`. The command can end with success.
    Gone,
}

/// Prints to standard output at once, for a command that goes on.
pub(crate) fn tell(text: &str) -> Result<Reader, Failure> {
    told(write(text))
}

/// Prints to standard error at once, for a command whose standard output is for something else.
pub(crate) fn tell_on_stderr(text: &str) -> Result<Reader, Failure> {
    told(io::stderr().write_all(text.as_bytes()))
}

fn told(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::Listening),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::unprintable(error)),
    }
}

/// Whether a person is about to read standard output, rather than a program.
pub(crate) fn is_for_people() -> bool {
    io::stdout().is_terminal()
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Says one thing on standard error, on one line whatever it holds.
pub(crate) fn say(what: &str, message: &str) {
    let line = format!("{what}: {}\n", harmless(message));
    // There is nowhere left to report that standard error is gone; the exit code still tells.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Text with everything escaped that would break a line, move the cursor or turn the reading
/// direction.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| {
            if acts_on_terminals(character) {
                character.escape_unicode().to_string()
            } else {
                character.to_string()
            }
        })
        .collect()
}

/// Whether a terminal obeys the character instead of showing it: control characters, line and
/// paragraph separators, and the directional formatting characters of UAX #9.
pub(crate) fn acts_on_terminals(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// An argument as an error repeats it: in backticks, and not at all when it is long enough to be a
/// secret.
pub(crate) fn quoted(argument: &str) -> String {
    let length = argument.chars().count();
    if length > REPEATED {
        format!("a text of {length} characters")
    } else {
        format!("`{argument}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_added() {
        let warned = |texts: [&str; 2]| texts.map(str::to_owned);
        let output = Output::new("")
            .warning(warned(["a", "b"]))
            .warning(warned(["c", "d"]));
        assert_eq!(output.warnings, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_message_stays_on_its_line_and_obeys_no_terminal() {
        assert_eq!(harmless("naïve `ü` 漢"), "naïve `ü` 漢");
        assert_eq!(harmless("a\nb\r\u{1b}[31m"), "a\\u{a}b\\u{d}\\u{1b}[31m");
        assert_eq!(
            harmless("\u{9b}31m\u{202e}\u{2028}"),
            "\\u{9b}31m\\u{202e}\\u{2028}"
        );
    }

    #[test]
    fn an_argument_as_long_as_a_secret_is_not_repeated() {
        assert_eq!(quoted("--subject"), "`--subject`");
        assert_eq!(quoted(&"ü".repeat(32)), format!("`{}`", "ü".repeat(32)));
        assert_eq!(quoted(&"a".repeat(33)), "a text of 33 characters");
    }
}
