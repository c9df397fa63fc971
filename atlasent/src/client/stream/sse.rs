//! Decodes server-sent events piece by piece as they arrive, in bounded memory.
//!
//! The rules are those of the WHATWG (HTML Standard, 9.2.6, "Interpreting an event stream"),
//! without reconnecting: the fields `id` and `retry` are ignored. In the standard and in the
//! AtlaSent SDKs, an event without data is ignored: a bare `event: done` does not end a stream.
//!
//! # Example
//!
//! A stream arrives in three pieces. The buffer is shown with `start` (`^`), where the next line
//! begins, and `scanned` (`!`), up to which no line ends:
//!
//! ```text
//! piece                  buffer afterwards       name      data    what happens
//! "event: progr"         ^event: progr!          ""        None    no line end: waits
//! "ess\r"                event: progress\r^!     progress  None    a line ends at \r; `after_cr` is set
//! "\ndata: {}\n\n"       \ndata: {}\n\n^!        ""        None    \n belongs to the \r before: skipped.
//!                                                                  data: {} sets the data, the blank line
//!                                                                  yields (progress, {}) and clears both
//! ```

/// Decodes one stream of events: [`push`](Self::push) the bytes that arrive, then take the complete
/// events.
#[derive(Debug)]
pub(crate) struct SseDecoder {
    limit: usize,
    lines: LineBuffer,
    name: String,
    /// The data lines of the current event, joined by LF. `None` before the first data line.
    data: Option<String>,
}

/// A server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// The event's name. `message` if the stream gives it no name.
    pub(crate) name: String,
    pub(crate) data: String,
}

/// The error when a line, or the data of one event, exceeds the limit. The decoder cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event has more than {limit} bytes")]
pub(crate) struct EventTooLong {
    limit: usize,
}

impl SseDecoder {
    /// Creates a decoder that accepts at most `limit` bytes for each line, and for the data of each
    /// event.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            lines: LineBuffer::default(),
            name: String::new(),
            data: None,
        }
    }

    /// Adds the next bytes of the stream. They may end anywhere. If all events are taken before the
    /// next bytes are added, memory is bounded by the limit and the longest piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// Returns the next event. `None` if more bytes are needed. An unfinished event at the end of
    /// the stream is ignored.
    ///
    /// # Errors
    ///
    /// [`EventTooLong`] when the limit is exceeded. Every further call returns the same error.
    pub(crate) fn next_event(&mut self) -> Result<Option<SseEvent>, EventTooLong> {
        let limit = self.limit;
        loop {
            if self.data.as_ref().is_some_and(|data| data.len() > limit) {
                return Err(EventTooLong { limit });
            }
            let Some(line) = self.lines.next_line(limit)? else {
                return Ok(None);
            };
            if let Some(field) = SseField::read(line) {
                field.add_to(&mut self.name, &mut self.data);
            } else if line.is_empty()
                && let Some(event) = self.dispatch()
            {
                return Ok(Some(event));
            }
        }
    }

    /// Ends the current event, and returns it if it has data.
    fn dispatch(&mut self) -> Option<SseEvent> {
        let mut name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        if name.is_empty() {
            name.push_str("message");
        }
        Some(SseEvent { name, data })
    }
}

/// A field of an event, read from one line.
enum SseField<'a> {
    Event(&'a [u8]),
    Data(&'a [u8]),
}

impl<'a> SseField<'a> {
    /// Reads a line. `None` for a comment, which has an empty name, and for a field with another
    /// name.
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next()?;
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => Some(Self::Event(value)),
            b"data" => Some(Self::Data(value)),
            _ => None,
        }
    }

    /// Adds the field to the current event. Names, colons and line ends are ASCII, so decoding each
    /// value as UTF-8 has the same result as decoding the whole stream.
    fn add_to(self, name: &mut String, data: &mut Option<String>) {
        match self {
            Self::Event(value) => {
                name.clear();
                name.push_str(&String::from_utf8_lossy(value));
            }
            Self::Data(value) => {
                let value = String::from_utf8_lossy(value);
                match data {
                    None => *data = Some(value.into_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(&value);
                    }
                }
            }
        }
    }
}

/// Splits bytes into lines, which end with LF, CR or CR LF.
#[derive(Debug, Default)]
struct LineBuffer {
    buffer: Vec<u8>,
    /// The beginning of the next line. Bytes before it were returned already.
    start: usize,
    /// The position up to which the next line was searched for its end, so that no byte is searched
    /// twice.
    scanned: usize,
    /// Whether the last line ended with CR. A following LF belongs to the same line end.
    after_cr: bool,
    /// Whether the first line was returned. Only the first line may begin with a byte order mark.
    has_first_line: bool,
}

impl LineBuffer {
    fn push(&mut self, bytes: &[u8]) {
        // The rest moves to the front only if it is the smaller half, so that the work for each
        // byte stays constant.
        if self.start >= self.buffer.len().div_ceil(2) {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn next_line(&mut self, limit: usize) -> Result<Option<&[u8]>, EventTooLong> {
        if self.after_cr
            && let Some(first) = self.buffer.get(self.start)
        {
            self.after_cr = false;
            self.start += usize::from(*first == b'\n');
            self.scanned = self.start;
        }
        let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
        let end = unscanned
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'));
        self.scanned += end.unwrap_or(unscanned.len());
        let line = self.start..self.scanned;
        if line.len() > limit {
            return Err(EventTooLong { limit });
        }
        if end.is_none() {
            return Ok(None);
        }
        self.after_cr = self.buffer.get(line.end) == Some(&b'\r');
        self.start = line.end + 1;
        self.scanned = self.start;
        let first = !std::mem::replace(&mut self.has_first_line, true);
        let line = self.buffer.get(line).unwrap_or_default();
        Ok(Some(match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if first => rest,
            _ => line,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    /// The events of a stream that arrives in these pieces, and whether it broke the limit.
    fn decode<'a>(
        limit: usize,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<SseEvent>, Option<EventTooLong>) {
        let mut decoder = SseDecoder::new(limit);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => {
                        // It stays an error, whatever comes.
                        decoder.push(b"\n\ndata: x\n\n");
                        assert_eq!(decoder.next_event(), Err(error));
                        return (events, Some(error));
                    }
                }
            }
        }
        (events, None)
    }

    fn events(stream: impl AsRef<[u8]>) -> Vec<SseEvent> {
        let (events, error) = decode(1000, [stream.as_ref()]);
        assert_eq!(error, None);
        events
    }

    #[test]
    fn a_blank_line_ends_an_event() {
        let stream = "event: decision\ndata: {}\n\nevent: done\ndata: {}\n\n";
        assert_eq!(
            events(stream),
            [event("decision", "{}"), event("done", "{}")]
        );
    }

    #[test]
    fn an_event_without_a_name_is_a_message() {
        assert_eq!(events("data: x\n\n"), [event("message", "x")]);
        assert_eq!(
            events("event: a\nevent:\ndata: x\n\n"),
            [event("message", "x")]
        );
        // A name is of one event only.
        assert_eq!(
            events("event: a\ndata: x\n\ndata: y\n\n"),
            [event("a", "x"), event("message", "y")]
        );
    }

    #[test]
    fn each_line_end_is_one() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = "event: a#data: x#data: y##data: z##".replace('#', end);
            assert_eq!(
                events(stream),
                [event("a", "x\ny"), event("message", "z")],
                "{end:?}"
            );
        }
        // CR CR LF is two of them, LF CR too.
        assert_eq!(
            events("data: x\r\r\ndata: y\n\r"),
            [event("message", "x"), event("message", "y")]
        );
    }

    #[test]
    fn one_space_after_the_colon_goes() {
        let stream = "data:a\ndata: b\ndata:  c\ndata: d \ndata::e\n\n";
        assert_eq!(events(stream), [event("message", "a\nb\n c\nd \n:e")]);
        assert_eq!(events("event:a\ndata:x\n\n"), [event("a", "x")]);
    }

    #[test]
    fn data_may_be_empty_and_still_be_there() {
        assert_eq!(events("data\n\n"), [event("message", "")]);
        assert_eq!(
            events("data:\ndata\ndata: \n\n"),
            [event("message", "\n\n")]
        );
    }

    #[test]
    fn an_event_without_data_is_none() {
        assert_eq!(events("event: done\n\n"), []);
        assert_eq!(
            events("event: decision\n\ndata: x\n\n"),
            [event("message", "x")]
        );
        assert_eq!(events("\n\n\nid: 1\n\n"), []);
    }

    #[test]
    fn comments_and_other_fields_are_passed_over() {
        let stream = ": keep-alive\nid: 7\nretry: 100\nDATA: no\n data: no\ndata : no\nother\n:\ndata: x\n:y\n\n";
        assert_eq!(events(stream), [event("message", "x")]);
    }

    #[test]
    fn what_is_unfinished_at_the_end_is_no_event() {
        for stream in [
            "data: x",
            "data: x\n",
            "data: x\r\n",
            "event: a\ndata: x\ndata: y\n",
        ] {
            assert_eq!(events(stream), [], "{stream:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_beginning_only() {
        assert_eq!(events("\u{feff}data: x\n\n"), [event("message", "x")]);
        assert_eq!(events("\u{feff}\u{feff}data: x\n\n"), []);
        assert_eq!(events("\n\u{feff}data: x\n\n"), []);
        assert_eq!(
            events("data: \u{feff}x\n\n"),
            [event("message", "\u{feff}x")]
        );
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        assert_eq!(
            events(b"event: \xff\ndata: \xe2\x82\ndata: a\xe2\x82\xacb\xf0\x9f\n\n"),
            [event("\u{fffd}", "\u{fffd}\na€b\u{fffd}")]
        );
    }

    #[test]
    fn a_line_may_fill_the_limit_and_not_exceed_it() {
        let line = |len: usize| format!("data: {}", "x".repeat(len - 6));
        for end in ["", "\n", "\r\n"] {
            let fits = line(20) + end;
            assert_eq!(decode(20, [fits.as_bytes()]).1, None);
            let exceeds = line(21) + end;
            assert_eq!(
                decode(20, [exceeds.as_bytes()]).1,
                Some(EventTooLong { limit: 20 })
            );
        }
        // So may a comment.
        assert!(decode(20, [":".repeat(21).as_bytes()]).1.is_some());
    }

    #[test]
    fn the_data_of_an_event_may_fill_the_limit_and_not_exceed_it() {
        assert_eq!(
            decode(9, [b"data:abcd\ndata:efgh\n\n".as_slice()]),
            (vec![event("message", "abcd\nefgh")], None)
        );
        let exceeds = b"data:x\n\ndata:abcd\ndata:efgh\ndata\n\n";
        assert_eq!(
            decode(9, [exceeds.as_slice()]),
            (vec![event("message", "x")], Some(EventTooLong { limit: 9 }))
        );
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let limit = 1024;
        let streams: [&[u8]; 5] = [b"data: x\n\n", b"data\n", b":\n", b"event: a\n", b"\xff"];
        for stream in streams {
            let piece = stream.repeat(100);
            let mut decoder = SseDecoder::new(limit);
            for _ in 0..200 {
                decoder.push(&piece);
                let end = loop {
                    match decoder.next_event() {
                        Ok(Some(_)) => {}
                        end => break end,
                    }
                };
                assert!(decoder.lines.buffer.capacity() <= 4 * (limit + piece.len()));
                let data = decoder.data.as_ref().map_or(0, String::capacity);
                assert!(data <= 4 * limit);
                if end.is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn an_event_that_comes_byte_by_byte_takes_time_in_proportion() {
        let limit = 1 << 20;
        let stream = format!("data: {}\n\n", "x".repeat(limit - 6));
        let started = std::time::Instant::now();
        let (events, error) = decode(limit, stream.as_bytes().chunks(1));
        assert_eq!((events.len(), error), (1, None));
        // Milliseconds; scanning from the line's start each time takes many minutes.
        assert!(started.elapsed().as_secs() < 10);
    }

    /// Streams that are mostly made of what has a meaning.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => prop::sample::select(vec![
                "data", "event", ":", ": ", "\n", "\r", "\r\n", "\n\n", "data: x\n", "\u{feff}", "é", "🦀", "id: 1\n",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(
            stream in stream(), sizes in prop::collection::vec(1..12_usize, 1..8), limit in 0..60_usize,
        ) {
            let whole = decode(limit, [stream.as_slice()]);
            let mut rest = stream.as_slice();
            let pieces = sizes.iter().cycle().map_while(|size| {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                rest = after;
                (!piece.is_empty()).then_some(piece)
            });
            prop_assert_eq!(&decode(limit, pieces), &whole);
            prop_assert_eq!(&decode(limit, stream.chunks(1)), &whole);
        }

        #[test]
        fn any_text_comes_through_as_data(lines in prop::collection::vec("[^\r\n]*", 1..5)) {
            let stream: String = lines.iter().map(|line| format!("data: {line}\n")).collect();
            let (events, error) = decode(10_000, [(stream + "\n").as_bytes()]);
            prop_assert_eq!(events, [event("message", &lines.join("\n"))]);
            prop_assert_eq!(error, None);
        }
    }
}
