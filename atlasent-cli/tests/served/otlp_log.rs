//! `--audit-log-otlp`: each event arrives at a collector, across kills, with the configuration of
//! OpenTelemetry's environment variables.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use atlasent_tests::server::{Reply, Request, Server as Scripted};
use base64ct::{Base64, Encoding};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;
use serde_json::Value;

use super::audit_log::{decide, events, wait_until};
use super::process::{KEY, Server, atlasent};

const SECRET: &str = "collector-hunter2";

type Taken = Arc<Mutex<Vec<Value>>>;

/// Returns a script that accepts every batch, and the list that it adds the events to.
fn take_all() -> (Taken, impl Fn(&Request) -> Reply + Send + Sync) {
    let taken = Taken::default();
    let keeps = Arc::clone(&taken);
    let script = move |request: &Request| {
        keeps.lock().unwrap().extend(events_of(request));
        Reply::bytes(200, "application/x-protobuf", "")
    };
    (taken, script)
}

fn events_of(request: &Request) -> Vec<Value> {
    let decoded = ExportLogsServiceRequest::decode(request.body.as_slice()).unwrap();
    let resources = decoded.resource_logs.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_logs);
    let bodies = scopes.flat_map(|scope| scope.log_records);
    bodies
        .map(|record| match record.body.unwrap().value.unwrap() {
            Any::StringValue(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn serve(data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .arg("--data-dir")
        .arg(data)
        .args(arguments)
        .env("KEY", KEY)
        .envs(variables.iter().copied())
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_collector_gets_every_event_in_order_through_kills() {
    let (taken, script) = take_all();
    let collector = Scripted::start(script);
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--audit-log-otlp", collector.url()];
    for _ in 0..4 {
        let server = Server::run(serve(data.path(), &arguments, &[]));
        let mut connection = server.connect();
        let before = taken.lock().unwrap().len();
        for _ in 0..30 {
            decide(&mut connection);
        }
        wait_until("a batch arrives", || taken.lock().unwrap().len() > before);
        decide(&mut connection);
        server.kill();
    }
    let server = Server::run(serve(data.path(), &arguments, &[]));
    let listed = events(&mut server.connect());
    assert!(server.stop().0.success());

    // An event may arrive twice after a kill, but never before an earlier event.
    let mut once = Vec::new();
    for event in taken.lock().unwrap().iter() {
        let sequence = event["sequence"].as_u64().unwrap() as usize;
        assert!(
            sequence <= once.len() + 1,
            "{sequence} after {}",
            once.len()
        );
        if sequence > once.len() {
            once.push(event.clone());
        }
    }
    assert_eq!(once, listed);

    #[cfg(unix)]
    {
        let position = fs::metadata(data.path().join("otlp-position.json")).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&position);
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn the_variables_of_opentelemetry_count_and_their_secrets_stay_out_of_the_log() {
    let data = tempfile::tempdir().unwrap();
    // A collector behind TLS that repeats a header.
    let answer = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 1,
            error_message: format!("no room for {SECRET}"),
        }),
    };
    let answer = answer.encode_to_vec();
    let collector = Scripted::start_tls(
        &["h2", "http/1.1"],
        move |request: &Request| match request.attempt {
            1 => Reply::status(401),
            _ => Reply::bytes(200, "application/x-protobuf", answer.clone()),
        },
    );
    let certificate = data.path().join("ca.pem");
    let pem = Base64::encode_string(collector.certificate());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
    fs::write(&certificate, pem).unwrap();
    let headers = format!("authorization=Bearer%20{SECRET},x-team=core");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            certificate.to_str().unwrap(),
        ),
    ];
    let command = serve(
        data.path(),
        &["--audit-log-otlp", "--log", "json"],
        &variables,
    );
    let server = Server::run(command);
    decide(&mut server.connect());
    wait_until("a batch is taken", || collector.requests().len() > 1);
    let (status, log) = server.stop_and_read_log();
    assert!(status.success());
    let request = &collector.requests()[0];
    assert_eq!(request.target, "/v1/logs");
    let expected = format!("Bearer {SECRET}");
    assert_eq!(request.header("authorization"), Some(expected.as_str()));
    assert_eq!(request.header("x-team"), Some("core"));
    assert!(log.contains("status 401"), "{log}");
    assert!(log.contains("no room for …"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn an_invalid_configuration_is_an_error_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let missing = data.path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    for (url, variable, why) in [
        (Some("otel:4318"), None, "is not an absolute URL"),
        (
            Some("http://otel:4318"),
            None,
            "ATLASENT_ALLOW_INSECURE_HTTP",
        ),
        (
            Some("https://u:hunter2@otel"),
            None,
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            None,
            Some(("OTEL_EXPORTER_OTLP_ENDPOINT", "otel")),
            "`OTEL_EXPORTER_OTLP_ENDPOINT`",
        ),
        (
            None,
            Some(("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")),
            "`http/protobuf`",
        ),
        (
            None,
            Some(("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")),
            "`OTEL_EXPORTER_OTLP_HEADERS`",
        ),
        (
            None,
            Some(("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")),
            "milliseconds",
        ),
        (
            None,
            Some(("OTEL_EXPORTER_OTLP_CERTIFICATE", missing)),
            "missing.pem",
        ),
    ] {
        let mut arguments = vec!["--store", "memory", "--audit-log-otlp"];
        arguments.extend(url);
        let variables: Vec<_> = variable.into_iter().collect();
        let refused = serve(data.path(), &arguments, &variables).output().unwrap();
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains("error: cannot send the audit trail by OTLP: "),
            "{stderr}"
        );
        assert!(
            stderr.contains(why) && !stderr.contains("hunter2"),
            "{stderr}"
        );
    }
}
