//! A client on standard input and output.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::lines::{LineReader, write_line};
use super::link::{CHANNEL, ClientLink, FromClient, Part, ToClient};
use super::session::Session;
use super::{Guard, Upstream};
use crate::Caller;

/// How long a client has, after the stop, to read the answers.
const FLUSH: Duration = Duration::from_secs(2);

/// Serves one client on a pair of streams, such as standard input and output, until the client
/// closes its side, the server ends, or `stop` resolves. Returns how the process of the server
/// ended, if it has one and ended by itself.
///
/// # Errors
///
/// The error of the system when the server cannot be started, or its end cannot be observed.
pub async fn serve(
    guard: Arc<Guard>,
    upstream: &Upstream,
    caller: Caller,
    input: impl AsyncRead + Send + Unpin + 'static,
    mut output: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Option<ExitStatus>> {
    let session = Session::new(guard);
    let server = upstream.connect(session.credentials())?;
    let (to_session, from_client) = mpsc::channel(CHANNEL);
    let (to_client, mut outgoing) = mpsc::channel::<ToClient>(CHANNEL);
    let (stay, end) = oneshot::channel::<()>();
    let mut reading = tokio::spawn(async move {
        let mut lines = LineReader::new(input);
        let read = async move {
            loop {
                let from = match lines.next().await {
                    Ok(Some(Ok(message))) => FromClient::Message {
                        message,
                        caller: caller.clone(),
                    },
                    Ok(Some(Err(malformed))) => FromClient::Malformed(malformed),
                    Ok(None) | Err(_) => return,
                };
                if to_session.send(from).await.is_err() {
                    return;
                }
            }
        };
        tokio::pin!(stop);
        tokio::select! {
            // After the client closed its side, its requests are still answered.
            () = read => stop.await,
            () = &mut stop => {}
        }
        drop(stay);
    });
    let mut writing = tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if message.part == Part::End {
                continue;
            }
            if write_line(&mut output, &message.text).await.is_err() {
                return;
            }
        }
    });
    let client = ClientLink {
        sender: to_client,
        receiver: from_client,
        end,
    };
    let ended = server.serve(session, client).await;
    // The answers are still written. A client that does not read them cannot keep the guard from
    // stopping.
    let stopped = async {
        let _ = (&mut reading).await;
        sleep(FLUSH).await;
    };
    tokio::select! {
        _ = &mut writing => {}
        () = stopped => writing.abort(),
    }
    reading.abort();
    ended.transpose()
}
