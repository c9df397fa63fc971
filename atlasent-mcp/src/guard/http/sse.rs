//! Decodes the server-sent events of a server piece by piece, in bounded memory (HTML Standard,
//! 9.2.6), with the ids by which a stream is resumed.

use crate::guard::message::MAX_MESSAGE_BYTES;

/// The most bytes of one line. A line holds a whole message and the name of its field.
const MAX_LINE: usize = MAX_MESSAGE_BYTES + 64;

/// The longest id of an event that is kept.
const MAX_ID: usize = 1_024;

/// An event with data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) data: Vec<u8>,
}

/// Decodes one stream, and keeps what is needed to resume it.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    after_cr: bool,
    data: Option<Vec<u8>>,
    /// Whether the event has another name than `message`.
    is_other: bool,
    pending_id: Option<String>,
    /// The id of the last complete event.
    pub(super) last_id: Option<String>,
    /// The time in milliseconds after which a client reconnects.
    pub(super) retry: Option<u64>,
    /// Whether this connection brought an event.
    pub(super) has_events: bool,
}

/// The error for a line or an event that is too long.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the server has more than {MAX_MESSAGE_BYTES} bytes")]
pub(super) struct TooLong;

impl Decoder {
    /// Starts the next connection of a resumed stream: an unfinished event is dropped.
    pub(super) fn reconnected(&mut self) {
        let (last_id, retry) = (self.last_id.take(), self.retry);
        *self = Self {
            last_id,
            retry,
            ..Self::default()
        };
    }

    /// Adds bytes, and returns the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            // A line ends at CR, LF or CRLF.
            let ends = match byte {
                b'\n' if self.after_cr => {
                    self.after_cr = false;
                    continue;
                }
                b'\r' | b'\n' => true,
                _ => false,
            };
            self.after_cr = *byte == b'\r';
            if ends {
                let line = std::mem::take(&mut self.line);
                events.extend(self.line(&line)?);
                self.has_events |= !events.is_empty();
            } else if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            } else {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Event>, TooLong> {
        if line.is_empty() {
            let id = self.pending_id.take();
            self.last_id = id.or(self.last_id.take());
            let is_message = !std::mem::take(&mut self.is_other);
            let data = self
                .data
                .take()
                .filter(|data| is_message && !data.is_empty());
            return Ok(data.map(|data| Event { data }));
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                let data = match &mut self.data {
                    Some(data) => {
                        data.push(b'\n');
                        data
                    }
                    none => none.insert(Vec::new()),
                };
                if data.len() + value.len() > MAX_MESSAGE_BYTES {
                    return Err(TooLong);
                }
                data.extend_from_slice(value);
            }
            // Events of another name are no messages of the protocol.
            b"event" => self.is_other = value != b"message" && !value.is_empty(),
            b"id" if value.len() <= MAX_ID && value.iter().all(|b| matches!(b, 0x20..=0x7e)) => {
                self.pending_id = String::from_utf8(value.to_vec()).ok();
            }
            b"retry" => {
                let text = std::str::from_utf8(value).ok();
                self.retry = text.and_then(|text| text.parse().ok()).or(self.retry);
            }
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Decoder) {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for piece in pieces {
            for event in decoder.push(piece).unwrap() {
                all.push(String::from_utf8(event.data).unwrap());
            }
        }
        (all, decoder)
    }

    #[test]
    fn events_with_data_are_messages_and_the_last_id_is_kept() {
        let text = ": hello\r\n\r\nid: 1\nretry: 1500\ndata:\n\nid: 2\nevent: message\rdata: {\rdata:}\r\r\
                    event: ping\ndata: x\n\nid: 3\ndata: cut";
        let (all, decoder) = decode([text.as_bytes()]);
        assert_eq!(all, ["{\n}"]);
        assert_eq!(decoder.last_id.as_deref(), Some("2"));
        assert_eq!(decoder.retry, Some(1500));
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_make_no_difference(text in "[ad:t\\r\\n {}i]{0,60}", cut in 0usize..60) {
            let bytes = text.as_bytes();
            let (one, other) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(decode([bytes]).0, decode([one, other]).0);
        }
    }
}
