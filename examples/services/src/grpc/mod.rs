//! The clinic over gRPC: the actions of the methods, and the server.

mod patients;

use std::sync::Arc;

use ati_client::Verifier;
use atlasent::NamedAction;
use atlasent::authority::DynAuthority;
use atlasent_tower::{Access, AtiLayer, ProtectedMethods};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower_layer::{Identity, Stack};

use crate::{ModifyPatientRecord, Records};
use patients::{PatientsService, ReadByMetadata};
use proto::patients_server::PatientsServer;

/// The code that is generated from `clinic.proto`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("clinic.v1");
}

/// Returns the whole server: the guards of the methods, and the services.
#[must_use]
pub fn server(
    authority: Arc<dyn DynAuthority>,
    verifier: Verifier,
    records: Arc<Records>,
) -> Router<Stack<ProtectedMethods, Identity>> {
    Server::builder()
        .layer(methods(Arc::clone(&authority), verifier))
        .add_routes(routes(authority, records))
}

/// Declares the action of each method. Undeclared methods are refused, such as `Watch` of the
/// health service.
#[must_use]
pub fn methods(authority: Arc<dyn DynAuthority>, verifier: Verifier) -> ProtectedMethods {
    let read = || Access::target(ReadByMetadata).scope("tool:ehr:read");
    // The values of a change are in its message, which only the handler reads.
    let modify = || Access::in_handler(ModifyPatientRecord::NAME).scope("tool:ehr:write");
    ProtectedMethods::new(authority)
        .authenticate(AtiLayer::new(verifier))
        .method("clinic.v1.Patients/Read", read())
        .method("clinic.v1.Patients/Watch", read())
        .method("clinic.v1.Patients/Modify", modify())
        .method("clinic.v1.Patients/Import", modify())
        .method("grpc.health.v1.Health/Check", Access::public())
}

/// Returns the services. Without the guards of [`methods`], they refuse every call.
#[must_use]
pub fn routes(authority: Arc<dyn DynAuthority>, records: Arc<Records>) -> Routes {
    let (_, health) = tonic_health::server::health_reporter();
    Routes::new(PatientsServer::new(PatientsService::new(
        authority, records,
    )))
    .add_service(health)
}
