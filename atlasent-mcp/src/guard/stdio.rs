//! A client on standard input and output.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::lines::{LineReader, write_line};
use super::link::{CHANNEL, ClientLink, FromClient, Part, ToClient};
use super::session::Session;
use super::{Guard, Upstream};
use crate::Caller;

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
    let reading = tokio::spawn(async move {
        let mut lines = LineReader::new(input);
        tokio::pin!(stop);
        loop {
            let next = tokio::select! {
                next = lines.next() => next,
                () = &mut stop => break,
            };
            let from = match next {
                Ok(Some(Ok(message))) => FromClient::Message {
                    message,
                    caller: caller.clone(),
                },
                Ok(Some(Err(malformed))) => FromClient::Malformed(malformed),
                Ok(None) | Err(_) => break,
            };
            if to_session.send(from).await.is_err() {
                return;
            }
        }
        let _ = to_session.send(FromClient::Closed).await;
    });
    let writing = tokio::spawn(async move {
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
    };
    let ended = server.serve(session, client).await;
    reading.abort();
    // What the session answered is written, unless the client stopped to read.
    let _ = writing.await;
    ended.transpose()
}
