//! Streams pass message by message in both directions, with their trailers.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use atlasent::testing::Call;
use clinic::grpc::proto::patients_client::PatientsClient;
use clinic::grpc::proto::patients_server::{Patients, PatientsServer};
use clinic::grpc::proto::{Change, ReadRequest, Record, WatchRequest};
use clinic::{Records, grpc};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::methods::{Method, allowing, change, framed, from};
use crate::raw::{call_with_token, send};
use crate::stage::{AGENT, Stage, soon, token, verifier};

type Streamed = Pin<Box<dyn Stream<Item = Result<Record, Status>> + Send>>;

/// A service whose stream the test controls, behind the guards of the example.
#[derive(Clone)]
struct ByHand(Arc<Mutex<Option<Answers>>>);

type Answers = UnboundedReceiverStream<Result<Record, Status>>;

type Hand = mpsc::UnboundedSender<Result<Record, Status>>;

impl ByHand {
    async fn serve() -> (Hand, Stage) {
        let (hand, stream) = mpsc::unbounded_channel();
        let service = Self(Arc::new(Mutex::new(Some(stream.into()))));
        let methods = grpc::methods(Arc::new(allowing()), verifier());
        let routes = Routes::new(PatientsServer::new(service));
        let records = Arc::new(Records::sample());
        let stage = Stage::of_parts(methods, routes, records).await;
        (hand, stage)
    }
}

#[tonic::async_trait]
impl Patients for ByHand {
    type WatchStream = Streamed;
    type ImportStream = Streamed;

    async fn read(&self, _: Request<ReadRequest>) -> Result<Response<Record>, Status> {
        Err(Status::unimplemented("not by hand"))
    }

    async fn modify(&self, _: Request<Change>) -> Result<Response<Record>, Status> {
        Err(Status::unimplemented("not by hand"))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Streamed>, Status> {
        let stream = self.0.lock().unwrap().take().unwrap();
        let mut response = Response::new(Box::pin(stream) as Streamed);
        let ward = MetadataValue::from_static("3");
        response.metadata_mut().insert("ward", ward);
        Ok(response)
    }

    async fn import(&self, _: Request<Streaming<Change>>) -> Result<Response<Streamed>, Status> {
        Err(Status::unimplemented("not by hand"))
    }
}

fn record(note: &str) -> Record {
    Record {
        patient_id: "patient-7".into(),
        notes: vec![note.into()],
    }
}

#[tokio::test]
async fn each_answer_arrives_before_the_next_is_made() {
    let (hand, stage) = ByHand::serve().await;
    let mut client = PatientsClient::new(stage.channel());
    let answers = soon(client.watch(from(&token(AGENT), WatchRequest {}))).await;
    let answers = answers.unwrap();
    assert_eq!(answers.metadata().get("ward").unwrap(), "3");
    let mut answers = answers.into_inner();
    for note in ["one", "two", "three"] {
        hand.send(Ok(record(note))).unwrap();
        let answer = soon(answers.message()).await.unwrap();
        assert_eq!(answer, Some(record(note)));
    }
    drop(hand);
    assert_eq!(soon(answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn a_handler_that_fails_in_the_middle_says_so_with_all_it_has_to_say() {
    let (hand, stage) = ByHand::serve().await;
    let mut said = MetadataMap::new();
    said.insert("ward", MetadataValue::from_static("3"));
    said.insert_bin("scan-bin", MetadataValue::from_bytes(&[0, 255, 13, 10]));
    let details = bytes::Bytes::from_static(&[8, 7]);
    let status =
        Status::with_details_and_metadata(Code::DataLoss, "zerbröselt: 7 %\n", details, said);
    hand.send(Ok(record("one"))).unwrap();
    hand.send(Err(status)).unwrap();

    let mut client = PatientsClient::new(stage.channel());
    let answers = soon(client.watch(from(&token(AGENT), WatchRequest {}))).await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(soon(answers.message()).await.unwrap(), Some(record("one")));
    let status = soon(answers.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::DataLoss, "zerbröselt: 7 %\n", &[8, 7][..])
    );
    assert_eq!(status.metadata().get("ward").unwrap(), "3");
    let scan = status.metadata().get_bin("scan-bin").unwrap();
    assert_eq!(scan.to_bytes().unwrap().as_ref(), [0, 255, 13, 10]);
}

#[tokio::test]
async fn trailers_come_behind_the_body_as_the_service_sent_them() {
    let (hand, stage) = ByHand::serve().await;
    hand.send(Ok(record("one"))).unwrap();
    hand.send(Err(Status::data_loss("no"))).unwrap();
    let request = call_with_token(&Method::Watch.path(), &token(AGENT));
    let raw = send(stage.address, request, Method::Watch.body()).await;
    assert!(!raw.ended_with_headers && !raw.headers.contains_key("grpc-status"));
    assert_eq!(raw.body, framed(&record("one")));
    let trailers = raw.trailers.unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"15".parse().unwrap(), &"no".parse().unwrap())
    );
}

#[tokio::test]
async fn each_change_is_answered_before_the_next_is_sent_and_has_a_permit_of_its_own() {
    let authority = Arc::new(allowing());
    let stage = Stage::counted(authority.clone()).await;
    let mut client = PatientsClient::new(stage.channel());
    let (hand, changes) = mpsc::unbounded_channel();
    let changes = UnboundedReceiverStream::new(changes);
    let answers = soon(client.import(from(&token(AGENT), changes))).await;
    let mut answers = answers.unwrap().into_inner();
    for count in 1..=3 {
        assert_eq!(authority.calls().len(), 2 * (count - 1));
        hand.send(change("follow-up")).unwrap();
        let record = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(record.notes.len(), 1 + count);
        assert_eq!(stage.accesses(), count);
    }
    drop(hand);
    assert_eq!(soon(answers.message()).await.unwrap(), None);

    let calls = authority.calls();
    let verified = calls.iter().filter(|call| matches!(call, Call::Verify(_)));
    assert_eq!((calls.len(), verified.count()), (6, 3));
    let mut permits: Vec<_> = stage
        .records
        .accesses()
        .into_iter()
        .map(|access| access.id)
        .collect();
    permits.dedup();
    assert_eq!(permits.len(), 3);
    assert_eq!(stage.passed.count(), 1);
}

#[tokio::test]
async fn a_watcher_sees_a_change_when_it_is_made() {
    let stage = Stage::example(Arc::new(allowing())).await;
    let mut client = PatientsClient::new(stage.channel());
    let states = soon(client.watch(from(&token(AGENT), WatchRequest {}))).await;
    let mut states = states.unwrap().into_inner();
    let before = soon(states.message()).await.unwrap().unwrap();
    assert_eq!(before.notes.len(), 1);
    let changed = soon(Method::Modify.call(stage.channel(), &token(AGENT))).await;
    let after = soon(states.message()).await.unwrap();
    assert_eq!(after, Some(changed.unwrap()));
}
