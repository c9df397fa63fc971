//! Reads the bytes of an evaluation stream as typed events, and checks that the stream is complete.

use super::event::{EventMeaning, StreamEvent, bad_response, read};
use super::sse::SseDecoder;
use crate::client::secrets::Secrets;
use crate::error::Failure;

/// Reads the bytes of an evaluation stream as typed events. The stream is complete after `done` or
/// a final decision; ending before is an error (contract, part A, "Stream").
#[derive(Debug)]
pub(crate) struct StreamReader {
    decoder: SseDecoder,
    complete: bool,
    /// The secrets that were sent, and those received with the events so far.
    secrets: Secrets,
}

impl StreamReader {
    /// Creates a reader that accepts lines and events of at most `limit` bytes each, for a call
    /// with these secrets.
    pub(crate) fn new(limit: usize, secrets: Secrets) -> Self {
        Self {
            decoder: SseDecoder::new(limit),
            complete: false,
            secrets,
        }
    }

    /// Returns the secrets that errors of the stream must not contain.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Adds the next bytes of the body. They may end anywhere, also inside a character.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// Returns the next event. `None` if more bytes are needed, or the stream is complete.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the authority sends an `error` event, or an event that cannot be read. Drop
    /// the reader after an error.
    pub(crate) fn next_event(&mut self) -> Result<Option<StreamEvent>, Failure> {
        while !self.complete {
            let event = self.decoder.next_event();
            let event = event.map_err(|long| bad_response(long.to_string()))?;
            let Some(event) = event else {
                return Ok(None);
            };
            match read(&event, &mut self.secrets)? {
                EventMeaning::Skip => {}
                EventMeaning::Done => self.complete = true,
                EventMeaning::Event(event) => {
                    self.complete = event.is_final();
                    return Ok(Some(event));
                }
            }
        }
        Ok(None)
    }

    /// Whether the stream is complete. Further events are ignored.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Checks that the stream is complete. Call it when the body has ended and all events are
    /// taken.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the body ended too early.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        if self.complete {
            return Ok(());
        }
        Err(bad_response(
            "the stream ended without `done` and without a final decision",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Decision;
    use crate::client::stream::event::StreamDecision;
    use crate::error::Code;
    use crate::wire::PermitToken;

    const LIMIT: usize = 1 << 20;

    /// All events of a body, and how the stream ends.
    fn stream(body: impl AsRef<[u8]>) -> (Vec<StreamEvent>, Result<(), Failure>) {
        let mut reader = StreamReader::new(LIMIT, Secrets::default());
        reader.push(body.as_ref());
        let mut events = Vec::new();
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, reader.end()),
                Err(failure) => return (events, Err(failure)),
            }
        }
    }

    #[test]
    fn a_stream_tells_its_progress_and_its_decision() {
        let (events, end) = stream(
            "event: progress\ndata: {\"stage\":\"policies\",\"type\":\"progress\",\"seen\":3}\n\n\
             : keep-alive\n\nevent: heartbeat\ndata: whatever\n\n\
             event: decision\ndata: {\"permitted\":true,\"decision_id\":\"p\",\"reason\":\"r\",\"audit_hash\":\"h\",\
             \"timestamp\":\"t\",\"is_final\":true}\n\nevent: done\ndata: {}\n\n",
        );
        assert!(end.is_ok());
        let [
            StreamEvent::Progress(progress),
            StreamEvent::Decision(decision),
        ] = events.as_slice()
        else {
            panic!("{events:?}")
        };
        assert_eq!(progress.stage, "policies");
        assert_eq!(
            serde_json::Value::from(progress.fields.clone()),
            json!({"seen": 3})
        );
        assert_eq!(
            decision,
            &StreamDecision {
                decision: Decision::Allow,
                permit_token: PermitToken::new("p").ok(),
                decision_id: None,
                escalation_id: None,
                approval_url: None,
                reason: Some("r".to_owned()),
                audit_hash: Some("h".to_owned()),
                timestamp: Some("t".to_owned()),
                is_final: true,
            }
        );
    }

    #[test]
    fn a_stream_may_end_after_done_or_a_final_decision_only() {
        let interim = "event: decision\ndata: {\"permitted\":true,\"decision_id\":\"p\"}\n\n";
        let last = "event: decision\ndata: {\"decision\":\"deny\",\"is_final\":true}\n\n";
        let done = "event: done\ndata: {}\n\n";
        for complete in [
            done.to_owned(),
            last.to_owned(),
            format!("{interim}{last}"),
            format!("{interim}{done}"),
        ] {
            assert!(stream(&complete).1.is_ok(), "{complete:?}");
        }
        let unfinished = last.trim_end_matches('\n');
        for cut in [
            "",
            interim,
            unfinished,
            "event: done\n\n",
            "event: done\ndata: {}\n",
            "data: {}\n\n",
            "<html>",
        ] {
            let failure = stream(cut).1.unwrap_err();
            assert_eq!(failure.code(), Code::BadResponse, "{cut:?}");
        }
    }

    #[test]
    fn nothing_counts_after_the_end() {
        let later = "event: decision\ndata: {\"permitted\":true,\"decision_id\":\"p\",\"is_final\":true}\n\n";
        let (events, end) = stream(format!("event: done\ndata: {{}}\n\n{later}"));
        assert!(events.is_empty() && end.is_ok());
        let refusal = "event: decision\ndata: {\"decision\":\"deny\",\"is_final\":true}\n\n";
        let (events, end) = stream(format!("{refusal}{later}"));
        assert!(events.len() == 1 && end.is_ok());
    }

    #[test]
    fn an_error_ends_the_stream_whatever_follows() {
        let done = "event: done\ndata: {}\n\n";
        for error in [
            "event: error\ndata: {\"code\":\"timeout\"}\n\n",
            "event: decision\ndata: {}\n\n",
        ] {
            let (events, end) = stream(format!("{error}{done}"));
            assert!(events.is_empty() && end.is_err(), "{error:?}");
        }
    }

    #[test]
    fn too_long_an_event_is_an_error() {
        let (events, end) = stream(format!("data: {}\n\n", "x".repeat(LIMIT)));
        assert!(events.is_empty());
        assert_eq!(end.unwrap_err().code(), Code::BadResponse);
    }

    proptest! {
        #[test]
        fn any_bytes_are_events_or_an_error_and_a_final_allow_has_a_token(
            name in "decision|progress|error|done|x", data in prop_oneof![
                any::<String>(),
                r#"\{("(decision|permitted|is_final|permit_token|decision_id|stage)":("allow"|"deny"|"p"|""|true|false|null|1|\[\]),?){0,5}\}"#,
            ],
        ) {
            for event in stream(format!("event: {name}\ndata: {data}\n\n")).0 {
                if let StreamEvent::Decision(decision) = event {
                    let token = decision.permit_token.as_ref();
                    prop_assert!(token.is_none_or(|token| decision.decision.is_allow() && !token.is_empty()));
                    prop_assert!(token.is_some() || !decision.is_final || !decision.decision.is_allow());
                }
            }
        }
    }
}
