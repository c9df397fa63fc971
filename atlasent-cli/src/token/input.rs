//! The token that a command is to judge: an argument, or standard input.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};

use ati_client::MAX_TOKEN_BYTES;
use clap::Args;

use crate::exit::Failure;

/// The longest line end.
const LINE_END: usize = "\r\n".len();

/// Where the token is; part of `validate` and `inspect`.
#[derive(Args)]
pub(crate) struct Input {
    /// The token, or `-` for standard input, which is the default
    #[arg(value_name = "TOKEN|-")]
    token: Option<OsString>,
}

impl Input {
    /// The token as it was given, which is not checked here.
    pub(crate) fn read(&self) -> Result<String, Failure> {
        let stdin = io::stdin();
        self.read_from(&stdin, stdin.is_terminal())
    }

    fn read_from(&self, stdin: impl Read, typed: bool) -> Result<String, Failure> {
        match &self.token {
            Some(token) if token != "-" => text(token.as_encoded_bytes()),
            None if typed => Err(Failure::misuse(
                "no token: give it as an argument, send it to standard input, or say `-` to type it",
            )),
            _ => text(without_line_end(&bounded(stdin)?)),
        }
    }
}

/// What stands in standard input, which is never read further than a token can be long.
fn bounded(stdin: impl Read) -> Result<Vec<u8>, Failure> {
    let longest = MAX_TOKEN_BYTES + LINE_END;
    let mut bytes = Vec::new();
    stdin
        .take(longest as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::misuse(format!("cannot read standard input: {error}")))?;
    if bytes.len() > longest {
        return Err(Failure::refused(format!(
            "standard input holds more than the {MAX_TOKEN_BYTES} bytes that a token may have"
        )));
    }
    Ok(bytes)
}

/// Without the one line end that `echo` and its like add. Any further white space is part of the
/// token, which is refused for it.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => bytes,
    }
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    if bytes.is_empty() {
        return Err(Failure::refused(
            "the token is empty: is the variable set that should hold it?",
        ));
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Failure::refused("the token is malformed: it is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(token: Option<&str>) -> Input {
        Input {
            token: token.map(OsString::from),
        }
    }

    #[test]
    fn nobody_is_left_waiting_for_a_token_that_nobody_types() {
        let error = input(None).read_from(io::empty(), true).unwrap_err();
        assert!(matches!(error, Failure::Misuse(line) if line.contains("standard input")));
        let typed = input(Some("-")).read_from(&b"abc\n"[..], true);
        assert_eq!(typed.unwrap(), "abc");
    }

    #[test]
    fn standard_input_is_read_up_to_a_token_s_length() {
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
    fn standard_input_that_fails_is_no_refused_token() {
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
