//! A patients API in which no handler can be called without a permit.
//!
//! ```text
//! cargo run --bin axum_service [ADDRESS]      # 127.0.0.1:3000 unless it is said otherwise
//! ```
//!
//! It prints its routes, and calls that are ready to paste. Their tokens end with the process, unless `ATI_JWT_SECRET` says what to
//! sign them with. The first call, in short:
//!
//! ```text
//! curl -i http://127.0.0.1:3000/patients/patient-7 -H "Authorization: Bearer $TOKEN"
//! ```
#![allow(
    clippy::print_stdout,
    reason = "it says where it listens, and how to call it"
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

#[derive(Clone, FromRef)]
struct App {
    authority: SharedAuthority,
    records: Arc<Records>,
}

/// The action is in the path. Without a permit for this patient's record there is nothing to read it with.
async fn read(
    State(records): State<Arc<Records>>,
    Authorized(permit): Authorized<Path<ReadPatientRecord>>,
) -> Result<Json<Record>, StatusCode> {
    records.read(permit).map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// The action is in the body. What was decided on is what the permit holds, and what is written.
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
    println!("Every route, and what it asks for:\n\n{}", router.table());
    axum::serve(listener, router.with_state(app).into_make_service()).await?;
    Ok(())
}

/// Says how to call it: what is allowed, what is not, and what has to wait.
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
