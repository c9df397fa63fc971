//! Takes JSON apart while it is read: one value at a time is in memory, never the whole.
//!
//! `serde_json` finds the end of each value and checks it. Here is what it cannot do: hold on between two values of
//! a stream that is cut into pieces anywhere.

use std::io::{self, Read};

use serde_json::value::RawValue;

use super::error::BundleError;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// A window that moves over a stream of JSON.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    reader: R,
    window: Vec<u8>,
    /// How much of the window is behind us.
    passed: usize,
    /// Where in the stream the window begins.
    offset: u64,
    ended: bool,
    limits: Limits,
    spaces: u64,
    /// The event that is being read, for errors.
    pub(super) event: Option<u64>,
}

/// How much is too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For one value.
    pub(super) value: usize,
    /// For the whole.
    pub(super) total: u64,
}

/// What the beginning of the window is.
enum Found {
    Value(usize),
    Incomplete,
    Wrong(usize, String),
}

impl<R: Read> Scanner<R> {
    /// Starts at `offset`, which is where `reader` stands.
    pub(super) fn new(reader: R, offset: u64, limits: Limits) -> Self {
        Self {
            reader,
            window: Vec::new(),
            passed: 0,
            offset,
            ended: false,
            limits,
            spaces: 0,
            event: None,
        }
    }

    /// The byte that comes next.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.passed as u64
    }

    /// How much white space there was between values.
    pub(super) fn spaces(&self) -> u64 {
        self.spaces
    }

    /// What is left of the stream when nothing more of it is needed.
    pub(super) fn into_reader(self) -> R {
        self.reader
    }

    /// The next byte that is not white space. It stays where it is.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, BundleError> {
        loop {
            match self.window.get(self.passed) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => {
                    self.passed += 1;
                    self.spaces += 1;
                }
                Some(byte) => return Ok(Some(*byte)),
                None if self.ended => return Ok(None),
                None => self.fill(CHUNK)?,
            }
        }
    }

    /// Passes `expected`, which must come next.
    pub(super) fn pass(&mut self, expected: u8) -> Result<(), BundleError> {
        match self.peek()? {
            Some(byte) if byte == expected => {
                self.passed += 1;
                Ok(())
            }
            found => Err(self.unexpected(found, char::from(expected))),
        }
    }

    /// Passes whatever stands before the next item of a container: nothing before the first one, else a comma. At the
    /// end of the container it passes that, and there is none.
    pub(super) fn item(&mut self, first: bool, close: u8) -> Result<bool, BundleError> {
        match self.peek()? {
            Some(byte) if byte == close => {
                self.passed += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.passed += 1;
                match self.peek()? {
                    Some(byte) if byte == close => Err(self.malformed("a comma too many")),
                    _ => Ok(true),
                }
            }
            Some(_) if first => Ok(true),
            found => Err(self.unexpected(found, char::from(close))),
        }
    }

    /// The key of the next member of an object, of which `pass` or `member` passed what is before; or its end.
    pub(super) fn member(&mut self, first: bool) -> Result<Option<String>, BundleError> {
        if !self.item(first, b'}')? {
            return Ok(None);
        }
        let at = self.position();
        let key = serde_json::from_str(self.value()?);
        let Ok(key) = key else {
            return Err(BundleError::Malformed {
                at,
                event: self.event,
                why: "a key that is no string of characters".into(),
            });
        };
        self.pass(b':')?;
        Ok(Some(key))
    }

    /// Passes the next value, and gives its text.
    pub(super) fn value(&mut self) -> Result<&str, BundleError> {
        self.peek()?;
        let length = loop {
            let rest = self.window.get(self.passed..).unwrap_or_default();
            let limit = self.limits.value;
            match find(rest, self.ended) {
                Found::Value(length) if length <= limit => break length,
                Found::Wrong(at, why) => {
                    return Err(BundleError::Malformed {
                        at: self.position() + at as u64,
                        event: self.event,
                        why,
                    });
                }
                Found::Incomplete if self.ended => {
                    return Err(self.malformed("it ends inside of the value that begins"));
                }
                Found::Incomplete if rest.len() <= limit => {
                    let more = rest.len().saturating_mul(2).min(limit.saturating_add(1));
                    self.fill(more.max(CHUNK))?;
                }
                _ => {
                    return Err(BundleError::TooLarge {
                        at: self.position(),
                        event: self.event,
                        why: format!(
                            "a value has more than {limit} bytes (raise `max_event_bytes` if it should)"
                        ),
                    });
                }
            }
        };
        let begin = self.passed;
        self.passed += length;
        let value = self.window.get(begin..self.passed).unwrap_or_default();
        // `find` saw that it is UTF-8.
        Ok(std::str::from_utf8(value).unwrap_or_default())
    }

    /// Passes the next value. If it is an array, only its elements have to be small.
    pub(super) fn skip(&mut self) -> Result<u64, BundleError> {
        if self.peek()? != Some(b'[') {
            return self.value().map(|_| 0);
        }
        self.pass(b'[')?;
        let mut items = 0;
        while self.item(items == 0, b']')? {
            self.value()?;
            items += 1;
        }
        Ok(items)
    }

    pub(super) fn malformed(&self, why: impl Into<String>) -> BundleError {
        BundleError::Malformed {
            at: self.position(),
            event: self.event,
            why: why.into(),
        }
    }

    fn unexpected(&self, found: Option<u8>, expected: char) -> BundleError {
        self.malformed(match found {
            None => format!("it ends where a `{expected}` is missing,"),
            Some(byte) => format!(
                "`{}` stands where `{expected}` should,",
                byte.escape_ascii()
            ),
        })
    }

    /// Reads until the rest of the window has `target` bytes, if there are as many.
    fn fill(&mut self, target: usize) -> Result<(), BundleError> {
        self.window.drain(..self.passed);
        self.offset += self.passed as u64;
        self.passed = 0;
        let missing = target.saturating_sub(self.window.len());
        let read = (&mut self.reader)
            .take(missing as u64)
            .read_to_end(&mut self.window);
        let end = self.offset + self.window.len() as u64;
        match read {
            Ok(read) => self.ended = read < missing,
            Err(source) => return Err(BundleError::Io { at: end, source }),
        }
        if end > self.limits.total {
            return Err(BundleError::TooLarge {
                at: self.limits.total,
                event: self.event,
                why: format!(
                    "the bundle goes on after {} bytes (raise `max_bytes` if it should)",
                    self.limits.total
                ),
            });
        }
        Ok(())
    }
}

/// What the text begins with. A number may go on behind the end of the window, so a value has to end before it.
fn find(text: &[u8], ended: bool) -> Found {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) if ended || values.byte_offset() < text.len() => {
            Found::Value(value.get().len())
        }
        Some(Err(error)) if !error.is_eof() => {
            let message = error.to_string();
            let why = message
                .rsplit_once(" at line ")
                .map_or(&*message, |(why, _)| why);
            Found::Wrong(offset(text, &error), why.to_owned())
        }
        _ => Found::Incomplete,
    }
}

/// Where in the text the error is: `serde_json` tells line and column, both from 1.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + error.column().saturating_sub(1)
}

/// A reader that keeps what it read.
pub(super) struct Tee<R, W> {
    pub(super) from: R,
    pub(super) to: W,
}

impl<R: Read, W: io::Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}
