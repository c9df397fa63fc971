//! The framing of stdio: one message a line, in bounded memory.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use super::message::{MAX_MESSAGE_BYTES, Malformed, Message, Outline};

/// Reads the messages of a stream, one a line.
pub(crate) struct LineReader<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// What the current line is about, if it is too long: its bytes are not kept.
    too_long: Option<Outline>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, input),
            line: Vec::new(),
            too_long: None,
        }
    }

    /// Returns the next message, or why a line is not a message. Returns `None` at the end of the
    /// stream. Text after the last line end is dropped: the sender ended in the middle of it.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Result<Message, Malformed>>> {
        loop {
            let buffer = self.input.fill_buf().await?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            match &mut self.too_long {
                Some(outline) => outline.extend(piece),
                None if self.line.len() + piece.len() > MAX_MESSAGE_BYTES => {
                    let mut outline = Outline::of(&std::mem::take(&mut self.line));
                    outline.extend(piece);
                    self.too_long = Some(outline);
                }
                None => self.line.extend_from_slice(piece),
            }
            let used = piece.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_none() {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(outline) = self.too_long.take() {
                return Ok(Some(Err(Malformed::too_long_line(&outline))));
            }
            if !line.trim_ascii().is_empty() {
                let message = Message::from_bytes(&line);
                let message = message.map_err(|error| error.answering(&Outline::of(&line)));
                return Ok(Some(message));
            }
        }
    }
}

/// Writes a message and its line end.
pub(crate) async fn write_line(
    output: &mut (impl AsyncWrite + Unpin),
    text: &str,
) -> io::Result<()> {
    let mut line = Vec::with_capacity(text.len() + 1);
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    output.write_all(&line).await?;
    output.flush().await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<Message, Malformed>> {
        let mut reader = LineReader::new(bytes);
        let mut all = Vec::new();
        futures_executor::block_on(async {
            while let Some(message) = reader.next().await.unwrap() {
                all.push(message);
            }
        });
        all
    }

    #[test]
    fn each_line_is_a_message_and_empty_lines_are_none() {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let all = read(format!("{ping}\n\r\n\n{ping}\r\nno\n{ping}").as_bytes());
        let texts: Vec<_> = all
            .iter()
            .map(|it| it.as_ref().ok().map(Message::text))
            .collect();
        assert_eq!(texts, [Some(ping), Some(ping), None]);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_error_and_the_next_line_is_read() {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let mut bytes = vec![b' '; MAX_MESSAGE_BYTES + 1];
        bytes.extend_from_slice(format!("\n{ping}\n").as_bytes());
        let all = read(&bytes);
        assert!(
            all[0].is_err() && all[1].is_ok() && all.len() == 2,
            "{all:?}"
        );
    }

    #[test]
    fn a_line_that_is_no_message_tells_which_request_it_asks_or_answers() {
        use crate::guard::message::RequestId;

        let text = "x".repeat(MAX_MESSAGE_BYTES);
        let lines = [
            format!(r#"{{"result":"{text}","jsonrpc":"2.0","id":7}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":8,"method":"ping","params":{{"x":"{text}"}}}}"#),
            r#"{"jsonrpc":"2.0","id":9,"result":{},"error":null}"#.to_owned(),
            "no".to_owned(),
        ];
        let all = read(format!("{}\n", lines.join("\n")).as_bytes());
        let errors: Vec<_> = all.iter().map(|it| it.as_ref().unwrap_err()).collect();
        let answered: Vec<_> = errors
            .iter()
            .map(|error| error.answered().cloned())
            .collect();
        let number = |id| Some(RequestId::Number(id));
        assert_eq!(answered, [number(7), None, number(9), None]);
        let told: serde_json::Value = serde_json::from_str(&errors[1].response()).unwrap();
        assert_eq!(told["id"], 8, "{told}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            prop_assert!(read(&bytes).len() < lines);
        }
    }
}
