//! The clinic over gRPC: which method asks for what, and the server behind that.

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
use patients::{Desk, ReadByMetadata};
use proto::patients_server::PatientsServer;

/// What `clinic.proto` says.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    reason = "it is generated"
)]
pub mod proto {
    tonic::include_proto!("clinic.v1");
}

/// The whole server: the methods' guards, and the services behind them.
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

/// What each method asks for. Any other is refused, `Watch` of the health service included.
#[must_use]
pub fn methods(authority: Arc<dyn DynAuthority>, verifier: Verifier) -> ProtectedMethods {
    let read = || Access::target(ReadByMetadata).scope("tool:ehr:read");
    // The values of a change stand in its message, which only the handler reads.
    let modify = || Access::in_handler(ModifyPatientRecord::NAME).scope("tool:ehr:write");
    ProtectedMethods::new(authority)
        .authenticate(AtiLayer::new(verifier))
        .method("clinic.v1.Patients/Read", read())
        .method("clinic.v1.Patients/Watch", read())
        .method("clinic.v1.Patients/Modify", modify())
        .method("clinic.v1.Patients/Import", modify())
        .method("grpc.health.v1.Health/Check", Access::public())
}

/// The services, which count on the guards of [`methods`]: without them, they refuse every call.
#[must_use]
pub fn routes(authority: Arc<dyn DynAuthority>, records: Arc<Records>) -> Routes {
    let (_, health) = tonic_health::server::health_reporter();
    Routes::new(PatientsServer::new(Desk::new(authority, records))).add_service(health)
}
