//! The audit trail at an OTLP collector: each event arrives, in order, whatever the collector does,
//! and no decision waits for it.

use std::fs;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use atlasent_authority::LocalAuthority;
use atlasent_authority::server::OtlpLog;
use atlasent_authority::store::{RateCounter, Store};
use atlasent_tests::server::{At, Fault, Reply};
use atlasent_tests::{Seen, capture};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::json;

use crate::audit_log::{decide, metric};
use crate::collector::{Collector, attributes, body, log};
use crate::support::{
    KEY, Served, deploy, evaluate_body, memory, ms, on_disk, server, token_of, with,
};

const FAILURES: &str = "atlasent_audit_log_otlp_failures_total";
const REJECTED: &str = "atlasent_audit_log_otlp_rejected_total";
const SEQUENCE: &str = "atlasent_audit_log_otlp_sequence";

async fn served<S: Store + RateCounter>(authority: LocalAuthority<S>, log: OtlpLog) -> Served {
    Served::run(server(authority).otlp_log(log)).await
}

async fn wait_until_metric(served: &Served, name: &str, least: u64) {
    for _ in 0..1_000 {
        if metric(served, name).await >= least {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("{name} stays below {least}");
}

/// Runs a test with its log lines.
fn with_log(test: impl Future<Output = ()>) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    capture(|| runtime.block_on(test)).1
}

fn count(seen: &[Seen], text: &str) -> usize {
    seen.iter().filter(|seen| seen.name.contains(text)).count()
}

#[tokio::test]
async fn each_event_is_a_record_with_its_line_and_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(|_, _| None);
    let served = served(memory(), collector.log(folder.path())).await;
    let token = token_of(&served.evaluate(&deploy()).await);
    served.evaluate(&evaluate_body("unheard-of")).await;
    let verify = json!({"permit_token": token, "actor_id": "deploy-bot", "action_type": "deploy"});
    assert_eq!(served.verify(&verify).await.status, 200);
    assert_eq!(served.verify(&verify).await.status, 200);
    let listed = served.events().await;
    wait_until_metric(&served, SEQUENCE, listed.len() as u64).await;
    assert_eq!(metric(&served, FAILURES).await, 0);
    served.stop().await.unwrap().unwrap();
    assert_eq!(collector.events(), listed);

    let requests = collector.server.requests();
    let first = &requests[0];
    assert_eq!(
        (first.method.as_str(), first.target.as_str()),
        ("POST", "/v1/logs")
    );
    assert_eq!(first.header("content-type"), Some("application/x-protobuf"));
    let decoded = ExportLogsServiceRequest::decode(first.body.as_slice()).unwrap();
    let resource = decoded.resource_logs[0].resource.as_ref().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "atlasent");

    for (record, event) in collector.taken().iter().zip(&listed) {
        let attributes = attributes(&record.attributes);
        let kind = event["type"].as_str().unwrap();
        assert_eq!(attributes["atlasent.event.type"], kind);
        assert_eq!(record.event_name, format!("atlasent.{kind}"));
        assert_eq!(attributes["log.record.uid"], event["id"]);
        assert_eq!(
            attributes["atlasent.event.sequence"],
            event["sequence"].to_string()
        );
        let occurred: jiff::Timestamp = event["occurred_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(i128::from(record.time_unix_nano), occurred.as_nanosecond());
        assert!(record.observed_time_unix_nano >= record.time_unix_nano);
        let payload = &event["payload"];
        for (name, value) in [
            ("atlasent.agent.id", &event["actor_id"]),
            ("atlasent.decision", &event["decision"]),
            ("atlasent.action.type", &payload["action_type"]),
            ("atlasent.request.id", &payload["x_request_id"]),
            ("atlasent.key.id", &payload["key_id"]),
            ("client.address", &payload["client"]),
        ] {
            assert_eq!(attributes[name], *value, "{name} of {kind}");
        }
        let refused = ["evaluate.deny", "permit.verify_failed"].contains(&kind);
        let severity = if refused { (13, "WARN") } else { (9, "INFO") };
        assert_eq!(
            (record.severity_number, record.severity_text.as_str()),
            severity,
            "{kind}"
        );
    }
    let kinds: Vec<_> = listed
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"evaluate.deny") && kinds.contains(&"permit.verify_failed"));
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(|_, _| None);
    for _ in 0..3 {
        let served = served(on_disk(folder.path()).await, collector.log(folder.path())).await;
        for _ in 0..7 {
            assert_eq!(served.evaluate(&deploy()).await.status, 200);
        }
        let listed = served.events().await;
        served.stop().await.unwrap().unwrap();
        assert_eq!(collector.events(), listed);
    }
}

#[tokio::test]
async fn a_long_trail_is_sent_in_batches_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(|_, records| {
        assert!(records.len() <= 500);
        None
    });
    let authority = memory();
    decide(&authority, 1_201).await;
    let served = served(authority, collector.log(folder.path())).await;
    wait_until_metric(&served, SEQUENCE, 1_201).await;
    served.stop().await.unwrap().unwrap();
    let events = collector.events();
    let sequences = events
        .iter()
        .map(|event| event["sequence"].as_u64().unwrap());
    assert!(events.len() > 1_201 && sequences.eq(1..=events.len() as u64));
}

#[test]
fn a_batch_is_sent_again_until_the_collector_takes_it() {
    let stall = || Reply::status(200).fault(Fault::Stall, At::Start);
    let page = || Reply::bytes(200, "text/html", "<!doctype html><html></html>");
    let cut = || Reply::bytes(200, "", "xx").fault(Fault::Reset, At::InHead);
    let seen = with_log(async {
        // Two faults at a time, as the pauses double.
        for faults in [
            [Reply::status(503).header("retry-after", "1"), stall()],
            [page(), Reply::status(401)],
            [cut(), Reply::status(429)],
        ] {
            let folder = tempfile::tempdir().unwrap();
            let faults = Mutex::new(faults.into_iter());
            let collector = Collector::start(move |_, _| faults.lock().unwrap().next());
            let served = served(memory(), collector.log(folder.path())).await;
            served.evaluate(&deploy()).await;
            let listed = served.events().await;
            wait_until_metric(&served, SEQUENCE, listed.len() as u64).await;
            assert_eq!(metric(&served, FAILURES).await, 2);
            served.stop().await.unwrap().unwrap();
            assert_eq!(collector.events(), listed);
        }
    });
    // One line for each outage, and one for its end.
    assert_eq!(count(&seen, "cannot be sent to the collector"), 3);
    assert_eq!(count(&seen, "the collector takes the audit trail again"), 3);
}

#[tokio::test]
async fn the_position_waits_for_a_collector_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let position = folder.path().join("otlp-position.json");
    // A port without a listener.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let rejects = Collector::start(|_, _| Some(Reply::status(503)));
    for endpoint in [&refused, rejects.server.url()] {
        let served = served(on_disk(folder.path()).await, log(endpoint, folder.path())).await;
        assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
        wait_until_metric(&served, FAILURES, 1).await;
        assert_eq!(metric(&served, SEQUENCE).await, 0);
        served.stop().await.unwrap().unwrap();
        let saved = fs::read_to_string(&position).unwrap();
        assert!(saved.contains("\"sequence\":0"), "{saved}");
    }

    let collector = Collector::start(|_, _| None);
    let served = served(on_disk(folder.path()).await, collector.log(folder.path())).await;
    let listed = served.events().await;
    served.stop().await.unwrap().unwrap();
    assert_eq!(collector.events(), listed);
    assert!(listed.len() > 3);
    let saved = fs::read_to_string(&position).unwrap();
    assert!(
        saved.contains(&format!("\"sequence\":{}", listed.len())),
        "{saved}"
    );
}

#[test]
fn rejected_events_are_counted_and_named() {
    let answer = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 2,
            error_message: "too old\nand more".to_owned(),
        }),
    };
    let seen = with_log(async move {
        let folder = tempfile::tempdir().unwrap();
        let answer = answer.encode_to_vec();
        let collector = Collector::start(move |request, _| {
            let reply = Reply::bytes(200, "application/x-protobuf", answer.clone());
            (request.attempt == 1).then_some(reply)
        });
        let authority = memory();
        decide(&authority, 5).await;
        let served = served(authority, collector.log(folder.path())).await;
        wait_until_metric(&served, REJECTED, 2).await;
        served.evaluate(&deploy()).await;
        let listed = served.events().await;
        wait_until_metric(&served, SEQUENCE, listed.len() as u64).await;
        assert_eq!(metric(&served, FAILURES).await, 0);
        served.stop().await.unwrap().unwrap();
        // The protocol forbids repeating a partly accepted batch.
        assert_eq!(collector.events(), listed[listed.len() - 1..]);
    });
    let line = seen
        .iter()
        .find(|seen| seen.name.contains("rejected events"));
    let fields = &line.unwrap().fields;
    assert_eq!(fields["rejected"], "2");
    assert_eq!(
        (fields["first"].as_str(), fields["last"].as_str()),
        ("1", "6")
    );
    assert_eq!(fields["reason"], r"too old\nand more");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(|_, records| (records.len() > 40).then(|| Reply::status(413)));
    let authority = memory();
    decide(&authority, 300).await;
    let served = served(authority, collector.log(folder.path())).await;
    wait_until_metric(&served, SEQUENCE, 300).await;
    assert_eq!(metric(&served, FAILURES).await, 0);
    let listed = served.events().await;
    served.stop().await.unwrap().unwrap();
    assert_eq!(collector.events(), listed);
}

#[test]
fn an_event_that_the_collector_refuses_alone_holds_the_rest_up() {
    let seen = with_log(async {
        let folder = tempfile::tempdir().unwrap();
        let collector = Collector::start(|_, records| {
            let is_bad = |record: &LogRecord| body(record)["sequence"] == 7;
            records.iter().any(is_bad).then(|| Reply::status(400))
        });
        let authority = memory();
        decide(&authority, 20).await;
        let served = served(authority, collector.log(folder.path())).await;
        wait_until_metric(&served, FAILURES, 2).await;
        assert_eq!(metric(&served, SEQUENCE).await, 6);
        served.stop().await.unwrap().unwrap();
        assert_eq!(collector.events().len(), 6);
    });
    let line = seen
        .iter()
        .find(|seen| seen.name.contains("cannot be sent"));
    let fields = &line.unwrap().fields;
    assert!(fields["error"].contains("status 400"), "{fields:?}");
    assert!(fields["after"].contains('6'), "{fields:?}");
}

#[test]
fn a_collector_that_hangs_stops_neither_decisions_nor_the_end() {
    let seen = with_log(async {
        let folder = tempfile::tempdir().unwrap();
        let collector =
            Collector::start(|_, _| Some(Reply::status(200).fault(Fault::Stall, At::Start)));
        let log = collector
            .log(folder.path())
            .timeout(Duration::from_secs(600));
        let served = served(memory(), log).await;
        while collector.server.busy() == 0 {
            tokio::time::sleep(ms(5)).await;
        }
        let started = Instant::now();
        for _ in 0..100 {
            assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_eq!(metric(&served, SEQUENCE).await, 0);
        let stopped = Instant::now();
        served.stop().await.unwrap().unwrap();
        assert!(stopped.elapsed() < Duration::from_secs(30));
    });
    assert_eq!(count(&seen, "the collector lacks the last events"), 1);
}

#[tokio::test]
async fn the_trail_of_another_store_is_sent_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(|_, _| None);
    let mut listed = Vec::new();
    for decisions in [5, 2] {
        let served = served(memory(), collector.log(folder.path())).await;
        for _ in 0..decisions {
            served.evaluate(&deploy()).await;
        }
        listed.extend(served.events().await);
        served.stop().await.unwrap().unwrap();
    }
    assert_eq!(collector.events(), listed);
}

#[tokio::test]
async fn no_request_holds_a_key_a_token_or_a_context() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(|_, _| None);
    let served = served(memory(), collector.log(folder.path())).await;
    let patient = with(deploy(), &json!({"context": {"patient": "patient-4711"}}));
    let token = token_of(&served.evaluate(&patient).await);
    let verify = json!({"permit_token": token, "actor_id": "deploy-bot", "action_type": "deploy"});
    served.verify(&verify).await;
    served.stop().await.unwrap().unwrap();
    assert!(collector.taken().len() >= 3);
    for request in collector.server.requests() {
        let text = String::from_utf8_lossy(&request.body);
        for secret in [KEY, token.as_str(), "patient-4711"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn an_endpoint_or_a_position_that_will_not_do_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let position = folder.path().join("otlp-position.json");
    let error = OtlpLog::from_env(Some("http://otel:4318"), &position);
    assert!(error.unwrap_err().to_string().contains("in the clear"));
    fs::write(&position, "7").unwrap();
    let error = OtlpLog::from_env(Some("https://otel:4318"), &position).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("otlp-position.json") && error.contains("remove it"),
        "{error}"
    );
    let shown = format!(
        "{:?}",
        log("http://127.0.0.1:1?token=hunter2", &folder.path().join("x"))
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
