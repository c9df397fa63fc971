//! The typed events of `POST /v1-evaluate-stream`, each read from one server-sent event.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::sse::SseEvent;
use crate::Decision;
use crate::client::failure::{self, Said};
use crate::client::secrets::Secrets;
use crate::error::{Code, Failure};
use crate::json::object::Object;
use crate::text::redact::excerpt;
use crate::wire::PermitToken;

/// What an authority says while it decides.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A decision, the final one or one on the way to it.
    Decision(StreamDecision),
    /// How far it has come.
    Progress(StreamProgress),
}

/// A decision that arrived in a stream. It is data: an allow opens nothing before its token is
/// verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamDecision {
    /// What was decided.
    pub decision: Decision,
    /// The token to verify. A final allow has one, an earlier allow may, and a refusal has none.
    pub permit_token: Option<PermitToken>,
    /// The authority's id of a refused evaluation. On an allow the token takes its place.
    pub decision_id: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The hash of the audit event that recorded the decision.
    pub audit_hash: Option<String>,
    /// When the decision was made (ISO 8601).
    pub timestamp: Option<String>,
    /// Whether no other decision follows.
    pub is_final: bool,
}

/// A hint before the decision. Nothing follows from it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamProgress {
    /// What the authority is at. Empty when it does not say.
    pub stage: String,
    /// What else it says.
    pub fields: Map<String, Value>,
}

/// Prints the names of the fields only, as a context does: their values may be anything.
impl fmt::Debug for StreamProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamProgress")
            .field("stage", &self.stage)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// What one event means for the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// The caller gets it.
    Event(StreamEvent),
    /// Nothing follows.
    Done,
    /// It has no meaning to us.
    Skip,
}

/// Reads one event, without what it repeats of the secrets of the call. What it does not know by
/// name, it skips.
///
/// # Errors
///
/// When the event is an `error`, or cannot be read.
pub(super) fn read(event: &SseEvent, secrets: &mut Secrets) -> Result<Step, Failure> {
    match event.name.as_str() {
        "decision" => StreamDecision::read(&secrets.answer(&event.data)).map(StreamEvent::Decision),
        "progress" => StreamProgress::read(&secrets.answer(&event.data)).map(StreamEvent::Progress),
        "error" => Err(of_error(&event.data, secrets)),
        "done" => return Ok(Step::Done),
        _ => return Ok(Step::Skip),
    }
    .map(Step::Event)
}

impl StreamEvent {
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Decision(decision) if decision.is_final)
    }
}

/// A decision as it stands on the wire.
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
    /// As strict about the verdict as the reading of an [`Evaluation`](crate::wire::Evaluation).
    fn read(data: &str) -> Result<Self, Failure> {
        let Object(wire) = serde_json::from_str::<Object<WireDecision>>(data)
            .map_err(|error| failure::of_json(&error))?;
        let decision = Decision::from_answer(wire.decision, wire.permitted)
            .map_err(|why| bad_response(format!("a `decision` event cannot be read: {why}")))?;
        let is_final = wire.is_final.unwrap_or_default();
        let mut read = Self {
            decision,
            permit_token: None,
            decision_id: None,
            reason: wire.reason,
            audit_hash: wire.audit_hash,
            timestamp: wire.timestamp,
            is_final,
        };
        if decision.is_allow() {
            let token = wire.permit_token.or(wire.decision_id);
            let token = token.filter(|token| !token.is_empty());
            if is_final && token.is_none() {
                return Err(bad_response("a final allow without a permit token"));
            }
            if let Some(token) = &token {
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
        let mut fields = object(data).map_err(|error| failure::of_json(&error))?;
        let stage = match fields.remove("stage") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(stage)) => stage,
            Some(_) => {
                return Err(bad_response(
                    "a `progress` event whose `stage` is no string",
                ));
            }
        };
        // The SDKs' name for the kind of event, not part of what it says.
        fields.remove("type");
        Ok(Self { stage, fields })
    }
}

/// What an `error` event says. It is an error however little of it can be read.
fn of_error(data: &str, secrets: &mut Secrets) -> Failure {
    let fields = object(data).ok();
    let text = |name| fields.as_ref()?.get(name)?.as_str();
    let code = match &fields {
        Some(_) => text("code").map_or(Code::ServerError, failure::code_of_word),
        None => Code::BadResponse,
    };
    let message = match failure::said_in(data.as_bytes(), None, secrets) {
        Said::Text(text) => text,
        Said::Nothing => "an `error` event, and no word why".to_owned(),
        Said::Unreadable(data) => format!("an `error` event whose data is not JSON: {data}"),
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
            json!({"permitted": true, "is_final": true, "permit_token": "", "decision_id": "p"}),
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
                "an `error` event, and no word why",
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
            assert_eq!(failure::code_of_word(word.as_str()), word);
        }
    }

    #[test]
    fn an_error_repeats_a_long_id_shortened_and_on_one_line() {
        let data = json!({"request_id": "r\n".repeat(1000)}).to_string();
        let failure = of_error(&data, &mut Secrets::default());
        let id = failure.request_id().unwrap();
        assert!(id.starts_with("r\\nr") && id.len() < 200, "{id}");
    }

    #[test]
    fn debug_and_errors_show_no_token_and_no_field() {
        let secret = "permit_0123456789abcdef";
        let allow = decision(
            &json!({"permitted": true, "decision_id": secret, "reason": format!("see {secret}")}),
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
