//! Reads the certificate again when its files change.

use super::rounds::{FILES, Rounds, watched};
use crate::server::listen::tls::Certificate;
use crate::server::off_thread::off_thread;

pub(super) async fn refresh_certificate(mut certificate: Certificate) {
    let mut rounds = Rounds::new(FILES);
    loop {
        let asked = rounds.next().await;
        let mut next = certificate.clone();
        let reading = off_thread("atlasent-certificate", move || {
            next.refresh(asked);
            next
        });
        match watched("the certificate", reading).await {
            Some(Ok(read)) => certificate = read,
            Some(Err(error)) => {
                tracing::error!(target: "atlasent", %error, "the former certificate stays in use");
            }
            None => {}
        }
    }
}
