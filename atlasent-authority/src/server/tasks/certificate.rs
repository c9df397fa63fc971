//! Reads the certificate again when its files change.

use super::failure_log::FailureLog;
use super::rounds::{FILES, Rounds, watched};
use crate::server::listen::tls::Certificate;
use crate::server::off_thread::off_thread;

pub(super) async fn refresh_certificate(mut certificate: Certificate) {
    let mut rounds = Rounds::new(FILES);
    let mut log = FailureLog::default();
    loop {
        let asked = rounds.next().await;
        let mut next = certificate.clone();
        let reading = off_thread("atlasent-certificate", move || {
            next.refresh(asked);
            next
        });
        match watched("the certificate", reading).await {
            Some(Ok(read)) => {
                certificate = read;
                if log.succeeded() {
                    tracing::info!(target: "atlasent", "the certificate can be read again");
                }
            }
            Some(Err(error)) if log.failed() => {
                tracing::error!(target: "atlasent", %error, "the former certificate stays in use");
            }
            _ => {}
        }
    }
}
