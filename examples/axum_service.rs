//! A patients API whose handlers cannot run without a permit.
//!
//! ```text
//! cargo run --bin axum_service [ADDRESS]      # default: 127.0.0.1:3000
//! ```
//!
//! It prints its routes, and calls that are ready to paste. The tokens in them are signed with
//! `ATI_JWT_SECRET`, or with a key that ends with the process. The first call, in short:
//!
//! ```text
//! curl -i http://127.0.0.1:3000/patients/patient-7 -H "Authorization: Bearer $TOKEN"
//! ```
#![allow(
    clippy::print_stdout,
    reason = "it prints where it listens, and how to call it"
)]

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use atlasent_axum::{
    Access, AtiLayer, Authorized, ProtectedRouter, SharedAuthority, by_signature, get, post,
};
use axum::Json;
use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use clinic::{ModifyPatientRecord, ReadPatientRecord, Record, Records, Tokens};
use tokio::net::TcpListener;

/// The state of the service.
#[derive(Clone, FromRef)]
struct App {
    authority: SharedAuthority,
    records: Arc<Records>,
}

/// Reads a record. The action is in the path, and `Records::read` takes a permit for this patient.
async fn read(
    State(records): State<Arc<Records>>,
    Authorized(permit): Authorized<Path<ReadPatientRecord>>,
) -> Result<Json<Record>, StatusCode> {
    records.read(permit).map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// Changes a record. The action is in the body. The permit holds the change that was decided on,
/// and that change is written.
async fn change(
    State(records): State<Arc<Records>>,
    Authorized(permit): Authorized<Json<ModifyPatientRecord>>,
) -> Result<Json<Record>, StatusCode> {
    records
        .modify(permit)
        .map(Json)
        .ok_or(StatusCode::NOT_FOUND)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:3000").parse()?;
    let tokens = Tokens::from_env()?;
    let app = App {
        authority: SharedAuthority::new(clinic::authority()?),
        records: Arc::new(Records::sample()),
    };

    let router = ProtectedRouter::new()
        .authenticate(AtiLayer::new(tokens.verifier()))
        .route("/health", get(Access::public(), async || "well"))
        .route(
            "/patients/{patient_id}",
            get(by_signature().scope("tool:ehr:read"), read),
        )
        .route(
            "/changes",
            post(by_signature().scope("tool:ehr:write"), change),
        );

    let listener = TcpListener::bind(address).await?;
    introduce(listener.local_addr()?, &tokens)?;
    println!("Each route, and its action:\n\n{}", router.table());
    axum::serve(listener, router.with_state(app).into_make_service()).await?;
    Ok(())
}

/// Prints calls to paste: allowed, denied and on hold.
fn introduce(address: SocketAddr, tokens: &Tokens) -> Result<(), ati_client::Error> {
    let chart_bot = tokens.token("chart-bot", &["ehr:read", "ehr:write"])?;
    let billing_bot = tokens.token("billing-bot", &["ehr:read", "ehr:write"])?;
    let call = |token: &str, rest: &str| {
        println!("curl -i -H 'Authorization: Bearer {token}' \\\n  {rest}\n");
    };
    println!("The clinic answers on {address}. chart-bot may read a record:\n");
    call(&chart_bot, &format!("http://{address}/patients/patient-7"));

    println!("billing-bot may not change one:\n");
    let change = |reason: &str| {
        format!(
            r#"--json '{{"patient_id": "patient-7", "change_reason": "{reason}", "note": "seen today"}}' \
  http://{address}/changes"#
        )
    };
    call(&billing_bot, &change("follow-up"));

    println!("chart-bot may, but a discharge waits for a doctor:\n");
    call(&chart_bot, &change("discharge"));
    Ok(())
}
