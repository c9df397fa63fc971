//! The token argument of `validate`, `inspect` and `delegate`: the argument itself, or standard
//! input.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};

use ati_client::MAX_TOKEN_BYTES;
use clap::Args;

use crate::exit::Failure;
use crate::files::read_at_most;

/// The length of the longest line end, in bytes.
const LINE_END: usize = "\r\n".len();

/// The token argument, shared by `validate`, `inspect` and `delegate`.
#[derive(Args)]
pub(crate) struct TokenInput {
    /// The token, or `-` for standard input [default: standard input]
    #[arg(value_name = "TOKEN|-")]
    token: Option<OsString>,
}

impl TokenInput {
    /// Reads the token. It is not verified here.
    pub(crate) fn read(&self) -> Result<String, Failure> {
        let stdin = io::stdin();
        self.read_from(&stdin, stdin.is_terminal())
    }

    fn read_from(&self, stdin: impl Read, is_terminal: bool) -> Result<String, Failure> {
        match &self.token {
            Some(token) if token != "-" => token_text(token.as_encoded_bytes()),
            None if is_terminal => Err(Failure::misuse(
                "missing token: pass it as an argument or on standard input, or pass `-` to type it",
            )),
            _ => token_text(without_line_end(&read_bounded(stdin)?)),
        }
    }
}

/// Reads standard input, at most up to the length of the longest token.
fn read_bounded(stdin: impl Read) -> Result<Vec<u8>, Failure> {
    let longest = MAX_TOKEN_BYTES + LINE_END;
    let bytes = read_at_most(stdin, longest)
        .map_err(|error| Failure::misuse(format!("cannot read standard input: {error}")))?;
    bytes.ok_or_else(|| {
        Failure::refused(format!(
            "standard input exceeds the limit of {MAX_TOKEN_BYTES} bytes for a token"
        ))
    })
}

/// Removes one line end, as `echo` adds it. Further white space stays, and makes the token invalid.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => bytes,
    }
}

fn token_text(bytes: &[u8]) -> Result<String, Failure> {
    if bytes.is_empty() {
        return Err(Failure::refused(
            "the token is empty: check that the variable or file that should hold it is set",
        ));
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Failure::refused("the token is malformed: it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(token: Option<&str>) -> TokenInput {
        TokenInput {
            token: token.map(OsString::from),
        }
    }

    #[test]
    fn a_missing_token_on_a_terminal_is_misuse_and_is_not_waited_for() {
        let error = input(None).read_from(io::empty(), true).unwrap_err();
        assert!(matches!(error, Failure::Misuse(line) if line.contains("standard input")));
        let typed = input(Some("-")).read_from(&b"abc\n"[..], true);
        assert_eq!(typed.unwrap(), "abc");
    }

    #[test]
    fn standard_input_is_read_up_to_the_longest_token() {
        let longest = "a".repeat(MAX_TOKEN_BYTES);
        for end in ["", "\n", "\r\n"] {
            let sent = format!("{longest}{end}");
            let read = input(None).read_from(sent.as_bytes(), false);
            assert_eq!(read.unwrap(), longest);
        }
        let endless = input(None).read_from(io::repeat(b'a'), false);
        assert!(matches!(endless, Err(Failure::Refused(_))));
    }

    #[test]
    fn an_argument_is_taken_as_it_is() {
        for token in ["abc", "abc\n", "\n", "--"] {
            let read = input(Some(token)).read_from(io::repeat(b'a'), false);
            assert_eq!(read.unwrap(), token);
        }
    }

    #[test]
    fn unreadable_standard_input_is_misuse_and_not_a_refused_token() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let error = input(Some("-")).read_from(Broken, false).unwrap_err();
        assert_eq!(error, Failure::misuse("cannot read standard input: gone"));
    }
}
