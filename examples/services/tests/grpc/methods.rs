//! The four methods of the example, each as one call, and as the bytes that it is.

use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{Evaluation, Verification};
use clinic::grpc::proto::patients_client::PatientsClient;
use clinic::grpc::proto::{Change, ReadRequest, Record, WatchRequest};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::stage::PATIENT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// One answer, by the layer's permit.
    Read,
    /// A stream of answers, by the layer's permit.
    Watch,
    /// One answer, by the handler's permit.
    Modify,
    /// A stream of questions and answers, each by a permit that the handler asks for.
    Import,
}

pub(crate) const METHODS: [Method; 4] =
    [Method::Read, Method::Watch, Method::Modify, Method::Import];

pub(crate) const READ: &str = "read_patient_record";
pub(crate) const MODIFY: &str = "modify_patient_record";

impl Method {
    pub(crate) fn path(self) -> String {
        format!("/clinic.v1.Patients/{self:?}")
    }

    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::Read | Self::Watch => READ,
            Self::Modify | Self::Import => MODIFY,
        }
    }

    /// Whether its permit is obtained before the service is called.
    pub(crate) fn is_decided_at_the_door(self) -> bool {
        self.action() == READ
    }

    /// A request of one message, as it stands in the body.
    pub(crate) fn body(self) -> Vec<u8> {
        match self {
            Self::Read | Self::Watch => framed(&ReadRequest {}),
            Self::Modify | Self::Import => framed(&change("follow-up")),
        }
    }

    /// Calls it once, and gives the first answer.
    pub(crate) async fn call(self, channel: Channel, token: &str) -> Result<Record, Status> {
        let mut client = PatientsClient::new(channel);
        match self {
            Self::Read => Ok(client.read(from(token, ReadRequest {})).await?.into_inner()),
            Self::Modify => Ok(client
                .modify(from(token, change("follow-up")))
                .await?
                .into_inner()),
            Self::Watch => {
                let answers = client.watch(from(token, WatchRequest {})).await?;
                first(answers.into_inner().message().await?)
            }
            Self::Import => {
                let changes = tokio_stream::once(change("follow-up"));
                let mut answers = client.import(from(token, changes)).await?.into_inner();
                let record = first(answers.message().await?);
                assert!(matches!(answers.message().await, Ok(None)));
                record
            }
        }
    }
}

fn first(record: Option<Record>) -> Result<Record, Status> {
    record.ok_or_else(|| Status::new(Code::Unknown, "it ended without an answer"))
}

pub(crate) fn change(reason: &str) -> Change {
    Change {
        patient_id: PATIENT.into(),
        change_reason: reason.into(),
        note: "seen today".into(),
    }
}

/// A request of an agent that names the patient.
pub(crate) fn from<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let patient = MetadataValue::from_static(PATIENT);
    request.metadata_mut().insert("patient-id", patient);
    request
}

/// A message behind its prefix: not compressed, and how long it is (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes
}

/// An authority that allows both actions.
pub(crate) fn allowing() -> MockAuthority {
    MockAuthority::new().allow(READ).allow(MODIFY)
}

/// An authority that gives this evaluation of both actions.
pub(crate) fn evaluating(reply: &Reply<Evaluation>) -> MockAuthority {
    MockAuthority::new()
        .on_evaluate(READ, reply.clone())
        .on_evaluate(MODIFY, reply.clone())
}

/// An authority that allows both actions, and gives this verification.
pub(crate) fn verifying(reply: &Reply<Verification>) -> MockAuthority {
    MockAuthority::new()
        .on_verify(READ, reply.clone())
        .on_verify(MODIFY, reply.clone())
}
