//! The body of a notification.

use std::fmt::Write;

use atlasent::text::Escaped;
use serde::{Deserialize, Serialize};

use super::WebhookFormat;
use crate::ledger::{ApprovalEntry, ApprovalKey, EscalationId};
use crate::trail::chain::{SealedEvent, format_time};

/// The longest text of a Slack message, in characters. Slack accepts 3,000 in a section.
const LONGEST_TEXT: usize = 2_000;

/// A notification that is ready to be signed.
pub(super) struct Message {
    /// The header `webhook-id`, which is the same in each attempt.
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

/// What a notification takes from an event. It takes nothing else: a context or a token that an
/// event has some day stays on the chain.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Payload {
    id: String,
    org_id: String,
    actor_id: Option<String>,
    resource_id: Option<String>,
    escalation_id: Option<String>,
    approval_url: Option<String>,
    action_type: Option<String>,
    environment: Option<String>,
    reason: Option<String>,
    stop_id: Option<String>,
    all: Option<bool>,
    expires_at: Option<String>,
    approvers: Option<Names>,
    approvals_required: Option<u64>,
    escalation_depth: Option<u64>,
    closed_by: Option<String>,
    expired_reason: Option<String>,
    note: Option<String>,
}

/// Those who may approve, as a text, or those who did.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Names {
    Text(String),
    List(Vec<String>),
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: &'a str,
    data: Data<'a>,
}

/// The members that are unset are left out.
#[derive(Serialize)]
struct Data<'a> {
    event_id: &'a str,
    sequence: u64,
    org_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_id: Option<&'a str>,
    /// Whether a stop covers every agent and action.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_url: Option<String>,
    /// Who can approve, in a request; who did, in a grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    approvers: Option<&'a Names>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals_required: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation_depth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl Payload {
    /// Reads the payload of an event.
    pub(super) fn read(event: &SealedEvent) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&event.payload)
    }

    /// Returns the key of the pending decision that the event is about.
    pub(super) fn approval(&self) -> Option<ApprovalKey> {
        let id: EscalationId = self.escalation_id.as_deref()?.parse().ok()?;
        Some(id.key())
    }

    /// Returns the notification of an event. `row` is the pending decision that the event names;
    /// `approval_url` is the address of a decision, with `{id}` in the place of its id.
    pub(super) fn message(
        &self,
        event: &SealedEvent,
        row: Option<&ApprovalEntry>,
        format: WebhookFormat,
        approval_url: Option<&str>,
    ) -> Result<Message, serde_json::Error> {
        let data = self.data(event, row, approval_url);
        let body = match format {
            WebhookFormat::Standard => serde_json::to_vec(&Body {
                kind: &event.kind,
                timestamp: &event.occurred_at,
                data,
            }),
            WebhookFormat::Slack => serde_json::to_vec(&slack(&event.kind, &data)),
        };
        Ok(Message {
            // A dot would let one signed text be cut in two ways.
            id: format!("msg_{}", self.id.replace('.', "_")),
            body: body?,
        })
    }

    fn data<'a>(
        &'a self,
        event: &SealedEvent,
        row: Option<&'a ApprovalEntry>,
        approval_url: Option<&str>,
    ) -> Data<'a> {
        let question = row.map(|row| &row.question);
        let agent = question.map(|question| question.agent.as_str());
        let action = question.map(|question| question.action.as_str());
        let resource = question.and_then(|question| question.resource.as_deref());
        let environment = question.and_then(|question| question.environment.as_deref());
        let held = row
            .map(|row| row.reason.as_str())
            .filter(|reason| !reason.is_empty());
        let expires_at = row.map(|row| format_time(row.timeout_at));
        let escalation_id = self.escalation_id.as_deref();
        let configured = approval_url.zip(escalation_id);
        let configured = configured.map(|(url, id)| url.replace("{id}", id));
        Data {
            event_id: &self.id,
            sequence: event.sequence,
            org_id: &self.org_id,
            escalation_id,
            agent: agent.or(self.actor_id.as_deref()),
            action: action.or(self.action_type.as_deref()),
            resource: resource.or(self.resource_id.as_deref()),
            environment: environment.or(self.environment.as_deref()),
            reason: self.reason.as_deref().or(held),
            stop_id: self.stop_id.as_deref(),
            all: self.all,
            // The end of a grant, in its event, and else that of the time to decide.
            expires_at: self.expires_at.clone().or(expires_at),
            approval_url: self.approval_url.clone().or(configured),
            approvers: self.approvers.as_ref(),
            approvals_required: self.approvals_required,
            escalation_depth: self.escalation_depth,
            closed_by: self.closed_by.as_deref(),
            expired_reason: self.expired_reason.as_deref(),
            note: self.note.as_deref(),
        }
    }
}

/// The body of an incoming webhook of Slack. `text` is what notifications show; the section shows
/// the same text as it is, without links and mentions that a reason or an agent's name may hold.
fn slack(kind: &str, data: &Data<'_>) -> serde_json::Value {
    let text = sentence(kind, data);
    let mut blocks = vec![serde_json::json!({
        "type": "section",
        "text": {"type": "plain_text", "text": text, "emoji": false},
    })];
    if let Some(url) = &data.approval_url {
        let link = format!("<{}|Open>", escaped(url).replace('|', "%7C"));
        blocks.push(serde_json::json!({
            "type": "section",
            "text": {"type": "mrkdwn", "text": link, "verbatim": true},
        }));
    }
    serde_json::json!({"text": escaped(&text), "blocks": blocks})
}

fn sentence(kind: &str, data: &Data<'_>) -> String {
    let title = match kind {
        "approval.requested" => "Approval requested",
        "approval.granted" => "Approved",
        "approval.rejected" => "Rejected",
        "approval.expired" => "Expired without a decision",
        "stop.set" => "Stop set",
        other => other,
    };
    let mut text = title.to_owned();
    let mut separator = ": ";
    for (name, value) in [
        ("agent", data.agent),
        ("action", data.action),
        ("resource", data.resource),
        ("environment", data.environment),
        ("for", data.all.and_then(|all| all.then_some("everything"))),
        ("reason", data.reason),
        ("by", data.closed_by),
        ("note", data.note),
    ] {
        if let Some(value) = value {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{separator}{name} {}", Escaped::new(value));
            separator = ", ";
        }
    }
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Escapes the characters that control Slack's markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::store::approvals::example;
    use crate::trail::approval_events;
    use crate::trail::chain::{ChainHead, NewEvent};

    fn sealed(event: NewEvent) -> SealedEvent {
        ChainHead::genesis("local").seal(event, Timestamp::UNIX_EPOCH)
    }

    fn body(event: &SealedEvent, row: Option<&ApprovalEntry>, format: WebhookFormat) -> Value {
        let url = Some("https://console.example/approvals/{id}");
        let message = Payload::read(event).unwrap();
        let message = message.message(event, row, format, url).unwrap();
        assert!(message.id.starts_with("msg_") && !message.id.contains('.'));
        serde_json::from_slice(&message.body).unwrap()
    }

    #[test]
    fn a_notification_names_the_question_and_neither_context_nor_token() {
        let row = example(1);
        let event = sealed(
            NewEvent::new("approval.requested")
                .with("escalation_id", row.id.to_string())
                .with("reason", "a person has to decide")
                .with("context", r#"{"card":"hunter2"}"#)
                .with("permit_token", "hunter2"),
        );
        let found = body(&event, Some(&row), WebhookFormat::Standard);
        let data = &found["data"];
        let expected = json!({
            "type": "approval.requested",
            "timestamp": event.occurred_at,
            "data": {
                "event_id": data["event_id"],
                "sequence": 1,
                "org_id": "local",
                "escalation_id": row.id.to_string(),
                "agent": "bot",
                "action": "deploy",
                "reason": "a person has to decide",
                "expires_at": format_time(row.timeout_at),
                "approval_url": format!("https://console.example/approvals/{}", row.id),
            },
        });
        assert_eq!(found, expected);
        for format in [WebhookFormat::Standard, WebhookFormat::Slack] {
            let text = body(&event, Some(&row), format).to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn the_events_of_a_decision_are_told_with_who_decided() {
        let row = example(1);
        for (event, kind, members) in [
            (
                approval_events::requested(&row),
                "approval.requested",
                &["approvers", "approvals_required"][..],
            ),
            (
                approval_events::granted(&row),
                "approval.granted",
                &["approvers"],
            ),
            (approval_events::rejected(&row), "approval.rejected", &[]),
            (approval_events::expired(&row), "approval.expired", &[]),
        ] {
            let found = body(&sealed(event), Some(&row), WebhookFormat::Standard);
            assert_eq!(found["type"], kind);
            let data = &found["data"];
            assert_eq!(data["escalation_id"], row.id.to_string());
            assert_eq!(
                (&data["agent"], &data["action"]),
                (&json!("bot"), &json!("deploy"))
            );
            for member in members {
                assert!(data.get(member).is_some(), "{kind}: {data}");
            }
            assert!(data.get("shown").is_none() && data.get("shown_hash").is_none());
        }
        let event = NewEvent::new("approval.rejected")
            .with("escalation_id", row.id.to_string())
            .with("closed_by", "alice")
            .with("note", "not today");
        let event = sealed(event);
        let data = &body(&event, None, WebhookFormat::Standard)["data"];
        assert_eq!(
            (&data["closed_by"], &data["note"]),
            (&json!("alice"), &json!("not today"))
        );
        let text = body(&event, Some(&row), WebhookFormat::Slack)["text"].to_string();
        assert!(text.contains("by alice, note not today"), "{text}");
    }

    #[test]
    fn a_stop_names_its_scope() {
        let event = NewEvent::new("stop.set")
            .with("stop_id", "stop_1")
            .with("all", true)
            .with("reason", "an incident");
        let found = body(&sealed(event), None, WebhookFormat::Standard);
        assert_eq!(found["data"]["all"], true);
        assert_eq!(found["data"]["stop_id"], "stop_1");
        assert!(found["data"].get("approval_url").is_none());
    }

    #[test]
    fn a_slack_message_has_no_markup_of_callers() {
        let reason = "<!channel> <https://evil.example|click>\nsecond & last line";
        let event = NewEvent::new("stop.set").with("reason", reason);
        let found = body(&sealed(event), None, WebhookFormat::Slack);
        let text = found["text"].as_str().unwrap();
        assert!(
            text.starts_with("Stop set: reason &lt;!channel&gt;"),
            "{text}"
        );
        assert!(!text.contains(['<', '>', '\n']), "{text}");
        assert_eq!(found["blocks"][0]["text"]["type"], "plain_text");
        let long = NewEvent::new("stop.set").with("reason", "ü".repeat(9_000));
        let found = body(&sealed(long), None, WebhookFormat::Slack);
        let shown = found["blocks"][0]["text"]["text"].as_str().unwrap();
        assert_eq!(shown.chars().count(), LONGEST_TEXT + 1);
    }
}
