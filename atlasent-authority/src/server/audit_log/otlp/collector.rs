//! One request to a collector, and what its answer means.

use std::io::{self, ErrorKind};
use std::time::Duration;

use atlasent::text::Escaped;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::retry::never;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::config::Config;
use super::record::attribute;
use crate::server::https::{causes, tls};

/// The limit on an answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The limit on a collector's message in a log line, in characters.
const LONGEST_MESSAGE: usize = 500;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const AGENT: &str = concat!("atlasent/", env!("CARGO_PKG_VERSION"));

/// A collector, ready for requests.
pub(super) struct Collector {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: Resource,
    pub(super) timeout: Duration,
}

/// A batch that a collector took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// How many of its records the collector rejected for good.
    pub(super) rejected: u64,
    /// The collector's reason or warning, on one line and without the secrets of the request.
    pub(super) message: String,
}

/// Why a batch was not delivered. It is sent again.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: io::Error,
    /// How long the collector asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether the collector refuses this very request, such as for its size.
    pub(super) is_bad_request: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            error,
            retry_after: None,
            is_bad_request: false,
        }
    }
}

impl Collector {
    /// Prepares requests. Redirects are not followed, and a collector of this machine is reached
    /// without a proxy.
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(
                config.certificate.as_deref(),
                config.endpoint.scheme() == "https",
            )?)
            .redirect(Policy::none())
            .retry(never());
        if config.is_local() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            io::Error::other(format!("no HTTP client: {}", causes(&error.without_url())))
        })?;
        let mut headers = config.headers.clone();
        headers.insert(CONTENT_TYPE, PROTOBUF);
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        }
        Ok(Self {
            client,
            endpoint: config.endpoint.clone(),
            headers,
            resource: resource(config),
            timeout: config.timeout,
        })
    }

    /// Sends a batch once.
    pub(super) async fn send(&self, records: Vec<LogRecord>) -> Result<Delivery, Failure> {
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(InstrumentationScope {
                        name: "atlasent".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    log_records: records,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let sending = self
            .client
            .post(self.endpoint.clone())
            .headers(self.headers.clone())
            .timeout(self.timeout)
            .body(request.encode_to_vec());
        let response = sending.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(&response));
        }
        let is_json = is_json(&response);
        let body = self.body(response).await?;
        let partial = match is_json {
            true => partial_success_of_json(&body),
            false => partial_success(&body),
        };
        let partial = partial.ok_or_else(|| {
            Failure::from(io::Error::new(
                ErrorKind::InvalidData,
                format!("status {status}, but its answer is not that of an OTLP collector: check the path of the endpoint"),
            ))
        })?;
        Ok(Delivery {
            rejected: partial.rejected_log_records.try_into().unwrap_or(0),
            message: self.without_secrets(&partial.error_message),
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            body.extend(chunk);
            if body.len() > LONGEST_ANSWER {
                let why = format!("its answer has more than {LONGEST_ANSWER} bytes");
                return Err(io::Error::new(ErrorKind::InvalidData, why).into());
            }
        }
        Ok(body)
    }

    fn broken(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let why = match error.is_timeout() {
            true => format!("no answer within {:?}", self.timeout),
            false => causes(&error),
        };
        io::Error::other(why).into()
    }

    /// Returns a collector's message on one line, without the header values that it repeats.
    fn without_secrets(&self, message: &str) -> String {
        let mut text = message.to_owned();
        for value in self.headers.values().filter(|value| value.is_sensitive()) {
            // `Bearer abc` is repeated as `abc`, too.
            for secret in String::from_utf8_lossy(value.as_bytes()).split_whitespace() {
                text = text.replace(secret, "…");
            }
        }
        let excerpt: String = text.chars().take(LONGEST_MESSAGE).collect();
        Escaped::new(&excerpt).to_string()
    }
}

/// The failure for a status other than success. The body may repeat the request, so it is not read.
fn refused(response: &Response) -> Failure {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER);
    let seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let advice = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check `OTEL_EXPORTER_OTLP_HEADERS`",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ": check the endpoint's path",
        _ if status.is_redirection() => ": name the endpoint that it redirects to",
        _ => "",
    };
    Failure {
        error: io::Error::other(format!("status {status}{advice}")),
        retry_after: seconds.map(Duration::from_secs),
        is_bad_request: matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY
        ),
    }
}

fn is_json(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    media_type.is_some_and(|text| text.trim_start().starts_with("application/json"))
}

/// Reads what an answer says of rejected records. Returns `None` for an answer outside the
/// protocol, such as that of a web server which answers 200 to everything.
fn partial_success(body: &[u8]) -> Option<ExportLogsPartialSuccess> {
    let answer = ExportLogsServiceResponse::decode(body).ok()?;
    Some(answer.partial_success.unwrap_or_default())
}

/// Reads an answer in JSON, where integers are texts. Some collectors answer so to protobuf.
fn partial_success_of_json(body: &[u8]) -> Option<ExportLogsPartialSuccess> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Integer {
        Number(i64),
        Text(String),
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Partial {
        rejected_log_records: Option<Integer>,
        error_message: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        partial_success: Option<Partial>,
    }
    if body.is_empty() {
        return Some(ExportLogsPartialSuccess::default());
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let partial = answer.partial_success.unwrap_or_default();
    let rejected_log_records = match partial.rejected_log_records {
        None => 0,
        Some(Integer::Number(number)) => number,
        Some(Integer::Text(text)) => text.parse().ok()?,
    };
    Some(ExportLogsPartialSuccess {
        rejected_log_records,
        error_message: partial.error_message,
    })
}

fn resource(config: &Config) -> Resource {
    let mut resource = Resource::default();
    for (name, value) in &config.resource {
        resource.attributes.retain(|known| known.key != *name);
        resource.attributes.push(attribute(name, value.clone()));
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_records_are_read_from_protobuf_and_json() {
        let partial = ExportLogsPartialSuccess {
            rejected_log_records: 3,
            error_message: "too old".to_owned(),
        };
        let answer = ExportLogsServiceResponse {
            partial_success: Some(partial.clone()),
        };
        assert_eq!(
            partial_success(&answer.encode_to_vec()),
            Some(partial.clone())
        );
        for json in [
            r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":3,"errorMessage":"too old"},"more":1}"#,
        ] {
            assert_eq!(
                partial_success_of_json(json.as_bytes()),
                Some(partial.clone())
            );
        }
    }

    #[test]
    fn an_answer_without_rejected_records_takes_all() {
        let all = Some(ExportLogsPartialSuccess::default());
        assert_eq!(partial_success(b""), all);
        for json in [
            "",
            "{}",
            r#"{"partialSuccess":null}"#,
            r#"{"partialSuccess":{}}"#,
        ] {
            assert_eq!(partial_success_of_json(json.as_bytes()), all, "{json}");
        }
    }

    #[test]
    fn the_answer_of_another_server_is_told_from_a_collectors() {
        for body in ["<!doctype html><html></html>", "OK", "{}", "ok\n"] {
            assert_eq!(partial_success(body.as_bytes()), None, "{body}");
        }
        for body in [
            "[]",
            "\"ok\"",
            r#"{"partialSuccess":{"rejectedLogRecords":"x"}}"#,
        ] {
            assert_eq!(partial_success_of_json(body.as_bytes()), None, "{body}");
        }
    }
}
