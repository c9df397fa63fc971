//! A scripted collector of OTLP logs, and the records that it received.

use std::path::Path;
use std::sync::{Arc, Mutex};

use atlasent_authority::server::OtlpLog;
use atlasent_tests::server::{Reply, Request, Server};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::{Value, json};

use crate::support::ms;

/// A collector that keeps the records of each request that it answers with 200.
pub(crate) struct Collector {
    pub(crate) server: Server,
    taken: Arc<Mutex<Vec<LogRecord>>>,
}

impl Collector {
    /// Starts a collector that accepts each request, unless `answer` returns another response.
    pub(crate) fn start(
        answer: impl Fn(&Request, &[LogRecord]) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let keeps = Arc::clone(&taken);
        let server = Server::start(move |request: &Request| {
            let records = records(request);
            answer(request, &records).unwrap_or_else(|| {
                keeps.lock().unwrap().extend(records);
                Reply::bytes(200, "application/x-protobuf", "")
            })
        });
        Self { server, taken }
    }

    pub(crate) fn taken(&self) -> Vec<LogRecord> {
        self.taken.lock().unwrap().clone()
    }

    /// Returns the events in the bodies of the received records.
    pub(crate) fn events(&self) -> Vec<Value> {
        let events = self.taken().into_iter().map(|record| body(&record));
        events.collect()
    }

    pub(crate) fn log(&self, folder: &Path) -> OtlpLog {
        log(self.server.url(), folder)
    }
}

pub(crate) fn log(endpoint: &str, folder: &Path) -> OtlpLog {
    let log = OtlpLog::from_env(Some(endpoint), folder.join("otlp-position.json")).unwrap();
    log.timeout(ms(300))
}

fn records(request: &Request) -> Vec<LogRecord> {
    let decoded = ExportLogsServiceRequest::decode(request.body.as_slice()).unwrap();
    let resources = decoded.resource_logs.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn body(record: &LogRecord) -> Value {
    serde_json::from_str(&text(record.body.as_ref())).unwrap()
}

pub(crate) fn attributes(attributes: &[KeyValue]) -> Value {
    let texts = attributes.iter();
    texts
        .map(|attribute| (attribute.key.clone(), json!(text(attribute.value.as_ref()))))
        .collect()
}
