//! The declared methods can be called, and no others.

use std::path::Path;
use std::sync::Arc;

use atlasent::testing::{MockAuthority, coverage};
use atlasent_authority::Policies;
use atlasent_tower::{Access, ProtectedMethods};
use clinic::{Records, grpc};
use tonic::transport::Server;
use tonic::{Code, Status};

use crate::methods::{METHODS, Method, allowing, framed};
use crate::raw::{anonymous_call, call, call_with_token, send};
use crate::stage::{AGENT, Stage, soon, token, verifier};

const HEALTH: &str = "/grpc.health.v1.Health/Check";

#[test]
fn the_table_shows_every_method_and_what_it_asks_for() {
    let methods = grpc::methods(Arc::new(allowing()), verifier());
    assert_eq!(
        methods.table().to_string(),
        "\
METHOD  PATH                          ACTION                 SCOPE
gRPC    /clinic.v1.Patients/Import    modify_patient_record  tool:ehr:write
gRPC    /clinic.v1.Patients/Modify    modify_patient_record  tool:ehr:write
gRPC    /clinic.v1.Patients/Read      read_patient_record    tool:ehr:read
gRPC    /clinic.v1.Patients/Watch     read_patient_record    tool:ehr:read
gRPC    /grpc.health.v1.Health/Check  (public)
"
    );
}

#[test]
fn the_policies_and_the_code_know_the_same_actions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policies = Policies::from_dir(folder).unwrap();
    let methods = grpc::methods(Arc::new(allowing()), verifier());
    let coverage = coverage(&policies).routes(&methods.table());
    // The policies of all example services are one folder. The code of the others is in other
    // programs.
    let of_others = [
        "drop_table",
        "list_tables",
        "read_order",
        "refund_order",
        "run_query",
    ];
    assert_eq!(coverage.actions_without_code(), of_others, "{coverage}");
    assert!(coverage.sites_without_policy().is_empty(), "{coverage}");
    assert!(coverage.routes_without_policy().is_empty(), "{coverage}");
    assert!(coverage.unmatchable_policies().is_empty(), "{coverage}");
}

#[tokio::test]
async fn an_undeclared_method_is_unimplemented() {
    let authority = Arc::new(allowing());
    let stage = Stage::counted(authority.clone()).await;
    for (path, code) in [
        // The health service has this method, but the server does not declare it.
        ("/grpc.health.v1.Health/Watch", 12),
        ("/clinic.v1.Patients/Erase", 12),
        ("/clinic.v1.Patients/read", 12),
        ("/clinic.v1.Patients/Read/", 12),
        ("/clinic.v1.Patients/Read/Read", 12),
        ("/clinic.v1.Patients", 12),
        ("/clinic.v1.Patients/", 12),
        ("/clinic.v2.Patients/Read", 12),
        ("/Clinic.v1.Patients/Read", 12),
        ("/", 12),
        // Paths that could be read in two ways are refused.
        ("/clinic.v1.Patients//Read", 3),
        ("//clinic.v1.Patients/Read", 3),
        ("/clinic.v1.Patients/./Read", 3),
        ("/clinic.v1.Patients/Modify/../Read", 3),
        ("/clinic.v1.Patients/%52ead", 3),
        ("/clinic.v1.Patients%2FRead", 3),
    ] {
        for request in [anonymous_call(path), call_with_token(path, &token(AGENT))] {
            let raw = send(stage.address, request, Method::Read.body()).await;
            assert_eq!((raw.status.as_u16(), raw.code()), (200, code), "{path}");
            assert!(raw.ended_with_headers, "{path}");
        }
    }
    assert_eq!((stage.passed.count(), stage.accesses()), (0, 0));
    assert!(authority.calls().is_empty());
}

#[tokio::test]
async fn a_request_that_is_not_grpc_gets_a_problem_and_not_a_status() {
    let stage = Stage::counted(Arc::new(allowing())).await;
    for (path, status) in [("/index.html", 404), ("/clinic.v1.Patients/Read", 401)] {
        let mut request = anonymous_call(path);
        request.headers_mut().remove("content-type");
        let raw = send(stage.address, request, Vec::new()).await;
        assert_eq!(raw.status, status, "{path}");
        assert_eq!(raw.headers["content-type"], "application/problem+json");
        assert!(!raw.headers.contains_key("grpc-status"));
    }
    assert_eq!(stage.passed.count(), 0);
}

#[tokio::test]
async fn a_public_method_looks_at_no_token() {
    let authority = Arc::new(MockAuthority::new());
    let stage = Stage::counted(authority.clone()).await;
    // An empty message asks for the health of the whole server.
    let question = framed(&());
    for request in [
        anonymous_call(HEALTH),
        call_with_token(HEALTH, "no.token.atall"),
    ] {
        let raw = send(stage.address, request, question.clone()).await;
        assert_eq!(raw.code(), 0, "{raw:?}");
        // `status: SERVING`
        assert_eq!(raw.body, [0, 0, 0, 0, 2, 8, 1]);
    }
    assert_eq!(stage.passed.count(), 2);
    assert!(authority.calls().is_empty());
}

#[tokio::test]
async fn every_method_that_is_declared_is_there() {
    let authority = Arc::new(allowing());
    for (called, method) in METHODS.into_iter().enumerate() {
        let stage = Stage::counted(authority.clone()).await;
        let record = soon(method.call(stage.channel(), &token(AGENT))).await;
        assert_eq!(record.unwrap().patient_id, "patient-7", "{method:?}");
        assert_eq!((stage.passed.count(), stage.accesses()), (1, 1));
        // One request of each kind, each once.
        assert_eq!(authority.calls().len(), 2 * (called + 1), "{method:?}");
    }
}

#[tokio::test]
async fn without_the_guards_every_method_refuses() {
    let records = Arc::new(Records::sample());
    let authority = Arc::new(allowing());
    let server =
        Server::builder().add_routes(grpc::routes(authority.clone(), Arc::clone(&records)));
    let stage = Stage::start(records, |incoming| server.serve_with_incoming(incoming)).await;
    for method in METHODS {
        let answer = soon(method.call(stage.channel(), &token(AGENT))).await;
        let code = answer.as_ref().map_err(Status::code);
        assert_eq!(code.unwrap_err(), Code::Internal, "{method:?}");
        let raw = call(stage.address, method, &token(AGENT)).await;
        assert_eq!(raw.code(), 13, "{method:?}");
    }
    assert_eq!(stage.accesses(), 0);
    assert!(authority.calls().is_empty());
}

#[tokio::test]
async fn guards_that_cannot_know_who_calls_let_nobody_through() {
    let records = Arc::new(Records::sample());
    let authority = Arc::new(allowing());
    let routes = grpc::routes(authority.clone(), Arc::clone(&records));
    let mut methods = ProtectedMethods::new(authority.clone());
    for method in METHODS {
        let access = match method.is_permitted_by_layer() {
            true => Access::action(method.action()),
            false => Access::in_handler(method.action()),
        };
        methods = methods.method(&method.path(), access);
    }
    let stage = Stage::of_parts(methods, routes, records).await;
    for method in METHODS {
        let raw = call(stage.address, method, &token(AGENT)).await;
        assert_eq!(raw.code(), 13, "{method:?}");
    }
    assert_eq!((stage.passed.count(), stage.accesses()), (0, 0));
    assert!(authority.calls().is_empty());
}
