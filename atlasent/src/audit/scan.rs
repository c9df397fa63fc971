//! Splits a stream of JSON into its values, and holds one value in memory at a time.
//!
//! `serde_json` finds the end of each value and checks its syntax. It needs the whole value in
//! memory, so the [`Scanner`] keeps a window over the stream, and reads more until the window
//! contains the value.
//!
//! # Example
//!
//! The stream `[{"a":1},{"b":22}]`, read in chunks of 10 bytes (in truth 256 KiB). `|` is `passed`,
//! the position in the window:
//!
//! ```text
//! call          window afterwards        offset  position  result
//! new           (empty)                  0       0
//! pass(b'[')    [|{"a":1},{              0       1         read 10 bytes
//! item          [|{"a":1},{              0       1         true: `{` follows the bracket
//! value         [{"a":1}|,{              0       8         {"a":1}
//! item          [{"a":1},|{              0       9         true: passed the comma
//! value         {"b":22}|]               9       17        {"b":22}
//! item          {"b":22}]|               9       18        false: passed the bracket
//! ```
//!
//! In the second `value`, the window ends inside the value: `serde_json` reports an unexpected end.
//! The scanner drops the 9 bytes that it passed, which become the new `offset`, reads until the
//! window has 10 bytes or the stream ends, and tries again.
//!
//! A number that ends with the window may go on behind it (`2` of `22`). So a value counts as
//! complete only if a byte follows it in the window, or the stream has ended.

use std::io::{self, Read};

use serde_json::value::RawValue;

use super::error::BundleError;

/// How many bytes one read asks for.
const CHUNK: usize = 256 * 1024;

/// A window that moves over a stream of JSON.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    reader: R,
    window: Vec<u8>,
    /// The number of bytes at the beginning of the window that were already passed.
    passed: usize,
    /// The position of the window in the stream, in bytes.
    offset: u64,
    /// Whether the reader has reached its end.
    ended: bool,
    limits: SizeLimits,
    /// The number of white-space bytes between values so far.
    spaces: u64,
    /// The index of the current event, for errors.
    pub(super) event: Option<u64>,
}

/// The maximum sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeLimits {
    /// The maximum size of a value.
    pub(super) value: usize,
    /// The maximum size of the bundle.
    pub(super) total: u64,
}

/// The value at the beginning of a text.
enum NextValue {
    /// A complete value of this many bytes.
    Complete(usize),
    /// The text ends inside the value, or with it.
    Incomplete,
    /// A mistake at this position, and its description.
    Invalid(usize, String),
}

impl<R: Read> Scanner<R> {
    /// Creates a scanner. `offset` is the position of `reader` in the bundle, in bytes.
    pub(super) fn new(reader: R, offset: u64, limits: SizeLimits) -> Self {
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

    /// Returns the position of the next byte in the stream.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.passed as u64
    }

    /// Returns the number of white-space bytes between values so far.
    pub(super) fn spaces(&self) -> u64 {
        self.spaces
    }

    /// Returns the reader. Bytes in the window are lost.
    pub(super) fn into_reader(self) -> R {
        self.reader
    }

    /// Passes white space, and returns the next byte without passing it. `None` at the end of the
    /// stream.
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

    /// Passes white space and the byte `expected`, which must follow.
    pub(super) fn pass(&mut self, expected: u8) -> Result<(), BundleError> {
        match self.peek()? {
            Some(byte) if byte == expected => {
                self.passed += 1;
                Ok(())
            }
            found => Err(self.unexpected(found, char::from(expected))),
        }
    }

    /// Passes the separator before the next item of a container: a comma, or nothing before the
    /// first item. Returns `false`, and passes the closing bracket, at the end of the container.
    pub(super) fn item(&mut self, first: bool, close: u8) -> Result<bool, BundleError> {
        match self.peek()? {
            Some(byte) if byte == close => {
                self.passed += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.passed += 1;
                match self.peek()? {
                    Some(byte) if byte == close => {
                        Err(self.malformed("a comma before a closing bracket"))
                    }
                    _ => Ok(true),
                }
            }
            Some(_) if first => Ok(true),
            found => Err(self.unexpected(found, char::from(close))),
        }
    }

    /// Passes the key of an object's next member and its colon, and returns the key. `None` at the
    /// end of the object, whose bracket it passes.
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
                why: "a key is not a string of characters".into(),
            });
        };
        self.pass(b':')?;
        Ok(Some(key))
    }

    /// Passes the next value, and returns its text.
    pub(super) fn value(&mut self) -> Result<&str, BundleError> {
        self.peek()?;
        let length = loop {
            let rest = self.window.get(self.passed..).unwrap_or_default();
            let limit = self.limits.value;
            match next_value(rest, self.ended) {
                NextValue::Complete(length) if length <= limit => break length,
                NextValue::Invalid(at, why) => {
                    return Err(BundleError::Malformed {
                        at: self.position() + at as u64,
                        event: self.event,
                        why,
                    });
                }
                NextValue::Incomplete if self.ended => {
                    return Err(self.malformed("the text ends inside the value that begins"));
                }
                NextValue::Incomplete if rest.len() <= limit => {
                    // Twice as much each time, so that parsing again stays linear in all. One byte
                    // above the limit shows that the value exceeds it.
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
        // `next_value` checked that the text is UTF-8.
        Ok(std::str::from_utf8(value).unwrap_or_default())
    }

    /// Passes the next value, and returns the number of items if it is an array, else 0. The limit
    /// for a value applies to the items of an array, not to the array.
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
            None => format!("expected `{expected}`, found the end of the text"),
            Some(byte) => format!("expected `{expected}`, found `{}`", byte.escape_ascii()),
        })
    }

    /// Drops the bytes that were passed, and reads until the window has `target` bytes or the
    /// stream ends.
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
                    "the bundle has more than {} bytes (raise `max_bytes` if it should)",
                    self.limits.total
                ),
            });
        }
        Ok(())
    }
}

/// Finds the end of the value at the beginning of the text. A number may go on behind the text, so
/// a value that ends with it is incomplete unless the stream has `ended`.
fn next_value(text: &[u8], ended: bool) -> NextValue {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) if ended || values.byte_offset() < text.len() => {
            NextValue::Complete(value.get().len())
        }
        Some(Err(error)) if !error.is_eof() => {
            let message = error.to_string();
            let why = message
                .rsplit_once(" at line ")
                .map_or(&*message, |(why, _)| why);
            NextValue::Invalid(offset(text, &error), why.to_owned())
        }
        _ => NextValue::Incomplete,
    }
}

/// Returns the position of a syntax error in the text, in bytes. `serde_json` gives its line and
/// column, both from 1.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + error.column().saturating_sub(1)
}

/// A reader that copies all bytes that it reads to a writer.
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
