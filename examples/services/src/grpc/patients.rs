//! The service `clinic.v1.Patients`. It reaches a record only with a permit for it.

use std::pin::Pin;
use std::sync::Arc;

use ati_client::Claims;
use atlasent::authority::DynAuthority;
use atlasent::{Action, NamedAction, Permit, protect};
use atlasent_tower::{PermitRequest, PermitSlot, Refusal, Target, subject};
use http::request::Parts;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::proto::patients_server::Patients;
use super::proto::{Change, ReadRequest, Record, WatchRequest};
use crate::{ModifyPatientRecord, ReadPatientRecord, Records, records};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service that agents call.
#[derive(Clone)]
pub(super) struct PatientsService {
    authority: Arc<dyn DynAuthority>,
    records: Arc<Records>,
}

impl PatientsService {
    pub(super) fn new(authority: Arc<dyn DynAuthority>, records: Arc<Records>) -> Self {
        Self { authority, records }
    }

    /// Changes a record, for `Modify` and for each message of `Import`.
    #[protect(
        action = ModifyPatientRecord {
            patient_id: change.patient_id,
            change_reason: change.change_reason,
            note: change.note,
        },
        agent = claims.sub(),
        authority = self.authority,
    )]
    async fn change(
        &self,
        claims: &Claims,
        change: Change,
        permit: Permit<ModifyPatientRecord>,
    ) -> Result<Option<records::Record>, Refusal> {
        Ok(self.records.modify(permit))
    }
}

#[tonic::async_trait]
impl Patients for PatientsService {
    type WatchStream = Streamed<Record>;
    type ImportStream = Streamed<Record>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Record>, Status> {
        answer(self.records.read(permit(&request)?)).map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let states = self.records.watch(permit(&request)?);
        let states = states.ok_or_else(no_such_patient)?;
        Ok(Response::new(Box::pin(
            states.map(|record| Ok(record.into())),
        )))
    }

    async fn modify(&self, request: Request<Change>) -> Result<Response<Record>, Status> {
        let claims = claims(&request)?.clone();
        let changed = self.change(&claims, request.into_inner()).await?;
        answer(changed).map(Response::new)
    }

    async fn import(
        &self,
        request: Request<Streaming<Change>>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        let claims = claims(&request)?.clone();
        let service = self.clone();
        // The next change is read after this one is answered. tonic ends the call at the first
        // error.
        let changed = request.into_inner().then(move |change| {
            let (service, claims) = (service.clone(), claims.clone());
            async move { answer(service.change(&claims, change?).await?) }
        });
        Ok(Response::new(Box::pin(changed)))
    }
}

fn answer(record: Option<records::Record>) -> Result<Record, Status> {
    record.map(Record::from).ok_or_else(no_such_patient)
}

fn no_such_patient() -> Status {
    Status::not_found("there is no such patient")
}

impl From<records::Record> for Record {
    fn from(record: records::Record) -> Self {
        Self {
            patient_id: record.patient_id,
            notes: record.notes,
        }
    }
}

/// Returns the caller's claims, which the guard verified.
fn claims<T>(request: &Request<T>) -> Result<&Claims, Refusal> {
    let claims = request.extensions().get();
    claims.ok_or_else(|| {
        Refusal::misconfigured(
            "the request has no claims: declare the method with an authentication",
        )
    })
}

/// Takes the permit that the guard obtained.
fn permit<T, A: Action>(request: &Request<T>) -> Result<Permit<A>, Refusal> {
    let slot = request.extensions().get::<PermitSlot<A>>();
    slot.and_then(PermitSlot::take).ok_or_else(|| {
        Refusal::misconfigured("the request has no permit: declare the method with a target")
    })
}

/// The target of a read: the record of the patient whom the metadata `patient-id` names.
pub(super) struct ReadByMetadata;

impl Target for ReadByMetadata {
    type Action = ReadPatientRecord;

    async fn permit_request(
        &self,
        request: &Parts,
    ) -> Result<PermitRequest<ReadPatientRecord>, Refusal> {
        let agent = subject(request)?;
        let patient_id = patient_id(request)?;
        Ok(PermitRequest::new(agent, ReadPatientRecord { patient_id })?)
    }

    fn action_name(&self) -> Option<&str> {
        Some(ReadPatientRecord::NAME)
    }
}

fn patient_id(request: &Parts) -> Result<String, Refusal> {
    let mut ids = request.headers.get_all("patient-id").iter();
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return Err(Refusal::bad_request(
            "its metadata has no `patient-id`, or several: send one",
        ));
    };
    let id = id
        .to_str()
        .map_err(|_| Refusal::bad_request("its `patient-id` is not plain ASCII"))?;
    Ok(id.to_owned())
}
