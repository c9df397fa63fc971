//! The typed events of `POST /v1-evaluate-stream`, each read from one server-sent event.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::sse::SseEvent;
use crate::Decision;
use crate::client::failure::{self, ErrorMessage};
use crate::client::secrets::Secrets;
use crate::error::{Code, Failure};
use crate::json::object::ObjectAndOthers;
use crate::text::redact::excerpt;
use crate::wire::{PermitToken, take_string};

/// An event of an evaluation stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A decision: the final one, or an interim one before it.
    Decision(StreamDecision),
    /// The progress of the evaluation.
    Progress(StreamProgress),
}

/// A decision in an evaluation stream. An allow does not authorize the action before its token is
/// verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamDecision {
    /// The decision.
    pub decision: Decision,
    /// The permit token. A final allow has one, an interim allow may have one, a refusal never has
    /// one.
    pub permit_token: Option<PermitToken>,
    /// The authority's id of a refusal. `None` for an allow.
    pub decision_id: Option<String>,
    /// The id of the escalation that waits for a person. Only a hold or an escalation has one.
    pub escalation_id: Option<String>,
    /// The URL where a person can decide on the escalation.
    pub approval_url: Option<String>,
    /// The reason for the decision.
    pub reason: Option<String>,
    /// The hash of the audit event that recorded the decision.
    pub audit_hash: Option<String>,
    /// The time of the decision (ISO 8601).
    pub timestamp: Option<String>,
    /// Whether this is the last decision of the stream.
    pub is_final: bool,
}

/// A progress report before the decision. It has no effect on the decision.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamProgress {
    /// The authority's current stage. Empty if the authority names none.
    pub stage: String,
    /// The other fields of the report.
    pub fields: Map<String, Value>,
}

/// Prints only the names of the fields, because their values may be confidential.
impl fmt::Debug for StreamProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamProgress")
            .field("stage", &self.stage)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A server-sent event, read as a part of an evaluation stream.
#[derive(Debug)]
pub(super) enum EventMeaning {
    /// An event for the caller.
    Event(StreamEvent),
    /// The end of the stream.
    Done,
    /// An event with an unknown name.
    Skip,
}

/// Reads an event, without the secrets of the call that it repeats.
///
/// # Errors
///
/// [`Failure`] when the event is named `error`, or cannot be read.
pub(super) fn read(event: &SseEvent, secrets: &mut Secrets) -> Result<EventMeaning, Failure> {
    match event.name.as_str() {
        "decision" => {
            StreamDecision::read(&secrets.scrub_answer(&event.data)).map(StreamEvent::Decision)
        }
        "progress" => {
            StreamProgress::read(&secrets.scrub_answer(&event.data)).map(StreamEvent::Progress)
        }
        "error" => Err(from_error_event(&event.data, secrets)),
        "done" => return Ok(EventMeaning::Done),
        _ => return Ok(EventMeaning::Skip),
    }
    .map(EventMeaning::Event)
}

impl StreamEvent {
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Decision(decision) if decision.is_final)
    }
}

/// The data of a `decision` event.
#[derive(Deserialize)]
struct WireDecision {
    decision: Option<Decision>,
    permitted: Option<bool>,
    permit_token: Option<PermitToken>,
    decision_id: Option<PermitToken>,
    reason: Option<String>,
    audit_hash: Option<String>,
    timestamp: Option<String>,
    is_final: Option<bool>,
}

impl StreamDecision {
    /// Reads a decision. The checks are those of an [`Evaluation`](crate::wire::Evaluation).
    fn read(data: &str) -> Result<Self, Failure> {
        let ObjectAndOthers {
            known: wire,
            mut other,
        } = serde_json::from_str::<ObjectAndOthers<WireDecision>>(data)
            .map_err(|error| failure::from_json(&error))?;
        let decision = Decision::from_answer(wire.decision, wire.permitted)
            .map_err(|why| bad_response(format!("a `decision` event cannot be read: {why}")))?;
        let is_final = wire.is_final.unwrap_or_default();
        let mut read = Self {
            decision,
            permit_token: None,
            decision_id: None,
            escalation_id: take_string(&mut other, "escalation_id"),
            approval_url: take_string(&mut other, "approval_url"),
            reason: wire.reason,
            audit_hash: wire.audit_hash,
            timestamp: wire.timestamp,
            is_final,
        };
        if decision.is_allow() {
            let token = PermitToken::from_allow(wire.permit_token, wire.decision_id);
            if is_final && token.is_none() {
                return Err(bad_response("a final allow without a permit token"));
            }
            if let Some(token) = &token {
                read.escalation_id = token.scrub_option(read.escalation_id);
                read.approval_url = token.scrub_option(read.approval_url);
                read.reason = token.scrub_option(read.reason);
                read.audit_hash = token.scrub_option(read.audit_hash);
                read.timestamp = token.scrub_option(read.timestamp);
            }
            read.permit_token = token;
        } else {
            read.decision_id = wire.decision_id.map(String::from);
        }
        Ok(read)
    }
}

impl StreamProgress {
    fn read(data: &str) -> Result<Self, Failure> {
        let mut fields = object(data).map_err(|error| failure::from_json(&error))?;
        let stage = match fields.remove("stage") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(stage)) => stage,
            Some(_) => {
                return Err(bad_response(
                    "a `progress` event whose `stage` is not a string",
                ));
            }
        };
        // The SDKs repeat the event's name here.
        fields.remove("type");
        Ok(Self { stage, fields })
    }
}

/// Returns the failure of an `error` event. An event whose data cannot be read is a failure, too.
fn from_error_event(data: &str, secrets: &mut Secrets) -> Failure {
    let fields = object(data).ok();
    let text = |name| fields.as_ref()?.get(name)?.as_str();
    let code = match &fields {
        Some(_) => text("code").map_or(Code::ServerError, failure::code_from_name),
        None => Code::BadResponse,
    };
    let message = match failure::error_message(data.as_bytes(), None, secrets) {
        ErrorMessage::Text(text) => text,
        ErrorMessage::Missing => "an `error` event without a message".to_owned(),
        ErrorMessage::NotJson(data) => format!("an `error` event whose data is not JSON: {data}"),
    };
    let failure = Failure::new(code, message);
    match text("request_id") {
        Some(id) => failure.with_request_id(excerpt(&secrets.scrub(id))),
        None => failure,
    }
}

fn object(data: &str) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_str(data)
}

pub(super) fn bad_response(message: impl Into<String>) -> Failure {
    Failure::new(Code::BadResponse, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decision(json: &Value) -> Result<StreamDecision, Failure> {
        StreamDecision::read(&json.to_string())
    }

    fn token(token: &str) -> Option<PermitToken> {
        Some(PermitToken::new(token).unwrap())
    }

    #[test]
    fn an_unreadable_verdict_is_an_error() {
        for json in [
            json!({}),
            json!({"decision_id": "p", "is_final": true}),
            json!({"permitted": null, "decision": null, "decision_id": "p"}),
            json!({"decision": "ALLOW", "permit_token": "p"}),
            json!({"decision": "maybe", "permitted": true, "permit_token": "p"}),
            json!({"decision": "deny", "permitted": true, "permit_token": "p"}),
            json!({"decision": "allow", "permitted": false, "permit_token": "p"}),
            json!({"permitted": "true", "decision_id": "p"}),
            json!({"permitted": 1, "decision_id": "p"}),
            json!({"permitted": true, "decision_id": 7}),
            json!({"permitted": true, "decision_id": "p", "is_final": 1}),
            json!({"permitted": true, "is_final": true}),
            json!({"permitted": true, "is_final": true, "permit_token": "", "decision_id": ""}),
            json!({"permitted": true, "is_final": true, "permit_token": "", "decision_id": 7}),
            json!(["allow", true, "p", null, null, null, null, true]),
            json!("allow"),
        ] {
            let failure = decision(&json).unwrap_err();
            assert_eq!(failure.code(), Code::BadResponse, "{json}");
        }
        for text in [
            r#"{"decision":"deny","decision":"allow","permit_token":"p"}"#,
            "{",
            "{}{}",
            "",
        ] {
            assert!(StreamDecision::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_allow_has_a_token_and_only_a_final_one_must() {
        let both =
            json!({"decision": "allow", "permit_token": "p", "decision_id": "d", "is_final": true});
        assert_eq!(decision(&both).unwrap().permit_token, token("p"));
        for empty in [json!(""), json!(null)] {
            let older = json!({"permitted": true, "permit_token": empty, "decision_id": "d", "is_final": true});
            assert_eq!(decision(&older).unwrap().permit_token, token("d"));
        }
        for interim in [
            json!({"permitted": true}),
            json!({"permitted": true, "decision_id": "", "is_final": false}),
        ] {
            assert_eq!(decision(&interim).unwrap().permit_token, None);
        }
        let refusal =
            json!({"decision": "hold", "permit_token": "p", "decision_id": "d", "is_final": true});
        let refusal = decision(&refusal).unwrap();
        assert_eq!(
            (refusal.decision, &refusal.permit_token),
            (Decision::Hold, &None)
        );
        assert_eq!(refusal.decision_id.as_deref(), Some("d"));
        assert_eq!(
            decision(&json!({"permitted": false})).unwrap().decision,
            Decision::Deny
        );
    }

    #[test]
    fn a_refusal_names_the_escalation_that_waits_for_a_person() {
        let mut hold =
            json!({"decision": "hold", "escalation_id": "esc_1", "approval_url": "https://c/1"});
        let read = decision(&hold).unwrap();
        assert_eq!(read.escalation_id.as_deref(), Some("esc_1"));
        assert_eq!(read.approval_url.as_deref(), Some("https://c/1"));
        (hold["escalation_id"], hold["approval_url"]) = (json!(7), json!({}));
        let read = decision(&hold).unwrap();
        assert_eq!((read.escalation_id, read.approval_url), (None, None));
    }

    #[test]
    fn progress_is_an_object_with_a_stage_or_without() {
        for json in [json!({}), json!({"stage": null})] {
            assert_eq!(StreamProgress::read(&json.to_string()).unwrap().stage, "");
        }
        for bad in [json!([]), json!({"stage": 1}), json!(null)] {
            let failure = StreamProgress::read(&bad.to_string()).unwrap_err();
            assert_eq!(failure.code(), Code::BadResponse, "{bad}");
        }
    }

    #[test]
    fn an_error_event_is_an_error_whatever_it_says() {
        for (data, code, message, id) in [
            (
                r#"{"code":"rate_limited","message":"slow down","request_id":"r1"}"#,
                Code::RateLimited,
                "slow down",
                Some("r1"),
            ),
            (
                r#"{"code":"forbidden","error":"no","reason":"x"}"#,
                Code::Forbidden,
                "no",
                None,
            ),
            (
                r#"{"code":"POLICY_STORE_DOWN","message":1,"reason":"down"}"#,
                Code::ServerError,
                "down",
                None,
            ),
            (
                r#"{"code":7,"request_id":7}"#,
                Code::ServerError,
                r#"{"code":7,"request_id":7}"#,
                None,
            ),
            ("{}", Code::ServerError, "{}", None),
            (
                " ",
                Code::BadResponse,
                "an `error` event without a message",
                None,
            ),
            ("[]", Code::BadResponse, "[]", None),
            (
                "boom",
                Code::BadResponse,
                "an `error` event whose data is not JSON: 4 bytes",
                None,
            ),
        ] {
            let event = SseEvent {
                name: "error".to_owned(),
                data: data.to_owned(),
            };
            let failure = read(&event, &mut Secrets::default()).unwrap_err();
            assert_eq!(
                (failure.code(), failure.message(), failure.request_id()),
                (code, message, id)
            );
        }
        for word in [
            Code::InvalidApiKey,
            Code::BadRequest,
            Code::ServerError,
            Code::Timeout,
            Code::Network,
        ] {
            assert_eq!(failure::code_from_name(word.as_str()), word);
        }
    }

    #[test]
    fn an_error_repeats_a_long_id_shortened_and_on_one_line() {
        let data = json!({"request_id": "r\n".repeat(1000)}).to_string();
        let failure = from_error_event(&data, &mut Secrets::default());
        let id = failure.request_id().unwrap();
        assert!(id.starts_with("r\\nr") && id.len() < 200, "{id}");
    }

    #[test]
    fn debug_and_errors_show_no_token_and_no_field() {
        let secret = "permit_0123456789abcdef";
        let told = format!("see {secret}");
        let allow = decision(
            &json!({"permitted": true, "decision_id": secret, "reason": told,
            "escalation_id": told, "approval_url": told}),
        );
        assert!(!format!("{allow:?}").contains(secret));
        let misplaced = decision(&json!({"permitted": secret})).unwrap_err();
        assert!(!format!("{misplaced:?}{misplaced}").contains(secret));
        let progress =
            StreamProgress::read(&json!({"stage": "s", "patient": "Jane Doe"}).to_string());
        let shown = format!("{progress:?}");
        assert!(
            shown.contains("patient") && !shown.contains("Jane Doe"),
            "{shown}"
        );
    }
}
