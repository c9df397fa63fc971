//! The clinic with its own policies and tokens.

use std::sync::Arc;

use atlasent_authority::LocalAuthority;
use clinic::grpc::proto::patients_client::PatientsClient;
use clinic::grpc::proto::{Change, ReadRequest, Record};
use clinic::{Records, Tokens, grpc};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::methods::{METHODS, change, from};
use crate::stage::{AGENT, Stage, soon, token};

async fn clinic() -> (Arc<LocalAuthority>, Stage, PatientsClient<Channel>) {
    let authority = Arc::new(clinic::authority().unwrap());
    let stage = Stage::example(authority.clone()).await;
    let client = PatientsClient::new(stage.channel());
    (authority, stage, client)
}

fn read(agent: &str, patient: &'static str) -> Request<ReadRequest> {
    let mut request = from(&token(agent), ReadRequest {});
    let patient = MetadataValue::from_static(patient);
    request.metadata_mut().insert("patient-id", patient);
    request
}

fn modify(agent: &str, patient: &str, reason: &str) -> Request<Change> {
    let change = Change {
        patient_id: patient.into(),
        ..change(reason)
    };
    from(&token(agent), change)
}

fn metadata_text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key)?.to_str().ok()
}

/// Returns decision, message and retry delay of a refusal, which always has an evaluation id.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (String, String, Option<String>) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let text = |key| metadata_text(status.metadata(), key).map(str::to_owned);
    assert!(text("atlasent-evaluation-id").is_some_and(|id| !id.is_empty()));
    assert_eq!(
        text("grpc-retry-pushback-ms"),
        text("retry-after").map(|seconds| seconds + "000")
    );
    let decision = text("atlasent-decision").unwrap();
    (decision, status.message().to_owned(), text("retry-after"))
}

#[tokio::test]
async fn agents_read_and_only_those_of_the_clinic_change() {
    let (_, stage, mut client) = clinic().await;
    for agent in ["chart-bot", "billing-bot"] {
        let record = soon(client.read(read(agent, "patient-8"))).await.unwrap();
        assert_eq!(record.into_inner().notes, ["fracture of the left wrist"]);
    }
    let changed = soon(client.modify(modify("chart-bot", "patient-8", "follow-up"))).await;
    let expected = ["fracture of the left wrist", "seen today"];
    assert_eq!(changed.unwrap().into_inner().notes, expected);
    assert_eq!(stage.accesses(), 3);

    let answer = soon(client.modify(modify("billing-bot", "patient-8", "follow-up"))).await;
    let (decision, message, wait) = refused(answer);
    assert_eq!((&*decision, wait), ("deny", None));
    assert!(message.starts_with("`modify_patient_record` is denied for agent `billing-bot`: "));
    for stranger in ["intern-bot", "Chart-bot"] {
        let (decision, ..) = refused(soon(client.read(read(stranger, "patient-8"))).await);
        assert_eq!(decision, "deny");
    }
    assert_eq!(stage.accesses(), 3);
}

#[tokio::test]
async fn a_protected_person_is_not_for_agents() {
    let (_, stage, mut client) = clinic().await;
    let (decision, message, _) = refused(soon(client.read(read(AGENT, "patient-1"))).await);
    assert_eq!(decision, "escalate");
    assert!(message.ends_with("records of protected persons are the privacy office's decision"));
    // A discharge is refused as well: the stronger decision wins.
    for reason in ["follow-up", "discharge"] {
        let answer = soon(client.modify(modify(AGENT, "patient-1", reason))).await;
        let (decision, message, wait) = refused(answer);
        assert_eq!((&*decision, wait), ("deny", None));
        assert!(message.ends_with("records of protected persons are not changed by agents"));
    }
    assert_eq!(stage.accesses(), 0);
}

#[tokio::test]
async fn a_discharge_waits_for_a_doctor_and_says_how_long() {
    let (_, stage, mut client) = clinic().await;
    let answer = soon(client.modify(modify(AGENT, "patient-7", "discharge"))).await;
    assert_eq!(
        refused(answer),
        (
            "hold".into(),
            "`modify_patient_record` is on hold for agent `chart-bot`: a doctor signs discharges"
                .into(),
            Some("900".into())
        )
    );
    assert_eq!(stage.accesses(), 0);
}

#[tokio::test]
async fn a_change_needs_a_reason_and_reading_does_not() {
    let (_, stage, mut client) = clinic().await;
    let answer = soon(client.modify(modify(AGENT, "patient-7", ""))).await;
    assert_eq!(refused(answer).0, "deny");
    assert!(soon(client.read(read(AGENT, "patient-7"))).await.is_ok());
    assert_eq!(stage.accesses(), 1);
}

#[tokio::test]
async fn an_import_ends_with_the_first_change_that_is_refused() {
    let (authority, stage, mut client) = clinic().await;
    let reasons = ["follow-up", "new allergy", "discharge", "follow-up"];
    let changes = tokio_stream::iter(reasons.map(change));
    let answers = soon(client.import(from(&token(AGENT), changes))).await;
    let mut answers = answers.unwrap().into_inner();
    for notes in [2, 3] {
        let record: Record = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(record.notes.len(), notes);
    }
    let (decision, _, wait) = refused(soon(answers.message()).await);
    assert_eq!((&*decision, wait.as_deref()), ("hold", Some("900")));
    assert_eq!(stage.accesses(), 2);

    // The authority was not asked about the last one.
    let trail = authority.trail().await.unwrap();
    let evaluated = trail.events.iter();
    let evaluated = evaluated.filter(|event| event.payload.text("action_type").is_some());
    let kinds: Vec<_> = evaluated.map(|event| &*event.envelope.kind).collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}

#[tokio::test]
async fn what_was_noted_is_not_in_the_trail() {
    let (authority, _stage, mut client) = clinic().await;
    let changed = soon(client.modify(modify(AGENT, "patient-7", "follow-up"))).await;
    assert!(changed.is_ok());
    let trail = serde_json::to_string(&authority.trail().await.unwrap()).unwrap();
    assert!(trail.contains("modify_patient_record"));
    assert!(!trail.contains("seen today"));
}

#[tokio::test]
async fn a_patient_who_is_not_there_is_not_found() {
    let (_, _stage, mut client) = clinic().await;
    let answer = soon(client.read(read(AGENT, "patient-9"))).await;
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    let answer = soon(client.modify(modify(AGENT, "patient-9", "follow-up"))).await;
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_call_that_names_no_patient_or_two_is_not_asked_about() {
    let (authority, stage, mut client) = clinic().await;
    let before = authority.trail().await.unwrap().events.len();
    let mut none = read(AGENT, "patient-7");
    none.metadata_mut().remove("patient-id");
    let mut two = read(AGENT, "patient-7");
    let other = MetadataValue::from_static("patient-1");
    two.metadata_mut().append("patient-id", other);
    for request in [none, two] {
        let status = soon(client.read(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    assert_eq!(authority.trail().await.unwrap().events.len(), before);
    assert_eq!(stage.accesses(), 0);
}

#[tokio::test]
async fn its_own_tokens_open_it_and_those_of_another_run_do_not() {
    let (tokens, others) = (Tokens::fresh().unwrap(), Tokens::fresh().unwrap());
    let records = Arc::new(Records::sample());
    let authority = Arc::new(clinic::authority().unwrap());
    let server = grpc::server(authority, tokens.verifier(), Arc::clone(&records));
    let stage = Stage::start(records, |incoming| server.serve_with_incoming(incoming)).await;
    for method in METHODS {
        let good = tokens.token(AGENT, &["ehr:read", "ehr:write"]).unwrap();
        assert!(soon(method.call(stage.channel(), &good)).await.is_ok());
        let other = others.token(AGENT, &["ehr:read", "ehr:write"]).unwrap();
        let status = soon(method.call(stage.channel(), &other))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{method:?}");
        let narrow = tokens.token(AGENT, &["ehr:list"]).unwrap();
        let status = soon(method.call(stage.channel(), &narrow))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{method:?}");
    }
    assert_eq!(stage.accesses(), METHODS.len());
}
