//! A gRPC server whose methods name their actions, and run only with a permit.
//!
//! ```text
//! cargo run --bin tonic_service [ADDRESS]     # default: 127.0.0.1:50051
//! ```
//!
//! It prints calls that are ready to paste. The tokens in them are signed with `ATI_JWT_SECRET`, or
//! with a key that ends with the process. The first call, in short:
//!
//! ```text
//! grpcurl -plaintext -import-path examples/tonic_service -proto clinic.proto \
//!   -H "authorization: Bearer $TOKEN" -H 'patient-id: patient-7' \
//!   127.0.0.1:50051 clinic.v1.Patients/Read
//! ```
#![allow(
    clippy::print_stdout,
    reason = "it prints where it listens, and how to call it"
)]

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use clinic::{Records, Tokens, grpc};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:50051").parse()?;
    let authority = Arc::new(clinic::authority()?);
    let tokens = Tokens::from_env()?;

    let listener = TcpListener::bind(address).await?;
    introduce(listener.local_addr()?, &tokens)?;
    let methods = grpc::methods(authority.clone(), tokens.verifier());
    println!("Each method, and its action:\n\n{}", methods.table());

    grpc::server(authority, tokens.verifier(), Arc::new(Records::sample()))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// Prints calls to paste: allowed, denied and on hold.
fn introduce(address: SocketAddr, tokens: &Tokens) -> Result<(), ati_client::Error> {
    let chart_bot = tokens.token("chart-bot", &["ehr:read", "ehr:write"])?;
    let billing_bot = tokens.token("billing-bot", &["ehr:read", "ehr:write"])?;
    let call = |token: &str, rest: &str| {
        println!(
            "grpcurl -plaintext -import-path examples/tonic_service -proto clinic.proto \\\n  \
             -H 'authorization: Bearer {token}' \\\n  {rest}\n"
        );
    };
    println!("The clinic answers on {address}. chart-bot may read a record:\n");
    let read = format!("-H 'patient-id: patient-7' {address} clinic.v1.Patients/Read");
    call(&chart_bot, &read);

    println!("billing-bot may not change one:\n");
    let change = |reason: &str| {
        format!(
            r#"-d '{{"patient_id": "patient-7", "change_reason": "{reason}", "note": "seen today"}}' \
  {address} clinic.v1.Patients/Modify"#
        )
    };
    call(&billing_bot, &change("follow-up"));

    println!("chart-bot may, but a discharge waits for a doctor:\n");
    call(&chart_bot, &change("discharge"));
    Ok(())
}
