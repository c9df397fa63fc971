//! An event of the chain as an OTLP log record.

use atlasent::audit::Event;
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use serde::Deserialize;

/// The types of event whose records are `WARN`: something was refused or failed.
const WARNINGS: [&str; 5] = [
    "evaluate.deny",
    "permit.verify_failed",
    "permit.failed",
    "policy.error",
    "approval.rejected",
];

/// The parts of a payload that become attributes.
#[derive(Default, Deserialize)]
struct PayloadFields {
    action_type: Option<String>,
    x_request_id: Option<String>,
    key_id: Option<String>,
    client: Option<String>,
}

/// Makes the record of an event. Its body is the event as one line of JSON, as the audit log in a
/// file has it.
///
/// The names `log.record.uid` and `client.address` come from OpenTelemetry's semantic conventions.
pub(super) fn log_record(
    event: &Event,
    observed: Timestamp,
) -> Result<LogRecord, serde_json::Error> {
    let body = serde_json::to_string(event)?;
    let envelope = &event.envelope;
    // Events of another program may have values of other types under these names.
    let fields: PayloadFields = event.payload.parse().unwrap_or_default();
    let texts = [
        ("log.record.uid", Some(envelope.id.clone())),
        ("atlasent.event.type", Some(envelope.kind.clone())),
        ("atlasent.org.id", Some(envelope.org_id.clone())),
        ("atlasent.agent.id", envelope.actor_id.clone()),
        ("atlasent.action.type", fields.action_type),
        ("atlasent.resource.id", envelope.resource_id.clone()),
        ("atlasent.decision", envelope.decision.clone()),
        ("atlasent.request.id", fields.x_request_id),
        ("atlasent.key.id", fields.key_id),
        ("client.address", fields.client),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, text)| Some(attribute(name, text?)));
    let sequence = KeyValue {
        key: "atlasent.event.sequence".to_owned(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(
                envelope.sequence.try_into().unwrap_or(i64::MAX),
            )),
        }),
        ..KeyValue::default()
    };
    let (severity, severity_text) = match WARNINGS.contains(&envelope.kind.as_str()) {
        true => (SeverityNumber::Warn, "WARN"),
        false => (SeverityNumber::Info, "INFO"),
    };
    Ok(LogRecord {
        // Zero means unknown.
        time_unix_nano: envelope.occurred_at.parse().map_or(0, nanoseconds),
        observed_time_unix_nano: nanoseconds(observed),
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(text_value(body)),
        attributes: texts.chain([sequence]).collect(),
        event_name: format!("atlasent.{}", envelope.kind),
        ..LogRecord::default()
    })
}

/// An attribute whose value is a text.
pub(super) fn attribute(name: &str, text: String) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(text_value(text)),
        ..KeyValue::default()
    }
}

fn text_value(text: String) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text)),
    }
}

fn nanoseconds(time: Timestamp) -> u64 {
    time.as_nanosecond().try_into().unwrap_or(0)
}
