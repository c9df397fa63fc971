//! The four methods of the example, as calls and as bytes.

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
    /// Unary, with a permit that the layer obtains.
    Read,
    /// Streams answers, with a permit that the layer obtains.
    Watch,
    /// Unary, with a permit that the handler obtains.
    Modify,
    /// Streams in both directions, with a permit for each message that the handler obtains.
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

    /// Whether the layer obtains the permit, before the service is called.
    pub(crate) fn is_permitted_by_layer(self) -> bool {
        self.action() == READ
    }

    /// Returns the body of a request with one message.
    pub(crate) fn body(self) -> Vec<u8> {
        match self {
            Self::Read | Self::Watch => framed(&ReadRequest {}),
            Self::Modify | Self::Import => framed(&change("follow-up")),
        }
    }

    /// Calls the method once, and returns the first answer.
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

/// Returns a request of an agent that names the patient.
pub(crate) fn from<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let patient = MetadataValue::from_static(PATIENT);
    request.metadata_mut().insert("patient-id", patient);
    request
}

/// Prefixes a message: uncompressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes
}

/// Returns an authority that allows both actions.
pub(crate) fn allowing() -> MockAuthority {
    MockAuthority::new().allow(READ).allow(MODIFY)
}

/// Returns an authority with this evaluation of both actions.
pub(crate) fn evaluating(reply: &Reply<Evaluation>) -> MockAuthority {
    MockAuthority::new()
        .on_evaluate(READ, reply.clone())
        .on_evaluate(MODIFY, reply.clone())
}

/// Returns an authority that allows both actions, with this verification.
pub(crate) fn verifying(reply: &Reply<Verification>) -> MockAuthority {
    MockAuthority::new()
        .on_verify(READ, reply.clone())
        .on_verify(MODIFY, reply.clone())
}
