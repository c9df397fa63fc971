//! One session between a client and a server: which messages pass, and in which order.
//!
//! A session is one task that owns all of its state. Questions to the authority and the filtering
//! of lists run beside it, so that a held call delays no other message.
//!
//! ```text
//!  client                          session                              server
//!    │ request ────────────► open: Asking ──► Gate ─┐
//!    │ ◄──────── refusal ◄───────────── refused ────┤
//!    │                                     permitted│──► open: Running ──► request, as written
//!    │ ◄──────────────────────────── the response ◄──────────────────────────────┘
//!    │ ◄── request (sampling, …) ◄── asked ◄── Gate ◄────────────────────── request
//! ```
//!
//! What a session holds is bounded: requests in each direction, and messages that wait for a side
//! that does not read. A side whose messages cannot be passed on is not read from.

mod announcements;
mod from_client;
mod from_server;
mod handshake;
pub(super) mod lists;
mod progress;
mod requests;
mod tasks;
mod tools;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::Guard;
use super::credentials::Credentials;
use super::link::{ClientLink, FromClient, FromServer, Part, ServerLink, ToClient, ToServer};
use super::message::{MAX_MESSAGE_BYTES, Malformed, RequestId, error_response};
use crate::Caller;
use announcements::Announcements;
use handshake::Handshake;
use requests::{Asked, Requests};
use tasks::{Done, Tasks};
use tools::ToolList;

/// The most messages that wait for one side.
const MAX_WAITING: usize = 64;
/// The bytes of messages that wait for one side, from which on no more are read for it.
const MAX_WAITING_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
/// The most answers that wait for a server that does not read them.
const MAX_ANSWERS: usize = 256;
/// The most notifications of a server that are being decided on.
const MAX_CHECKS: usize = 64;
/// How long the requests of a client that is gone may still run.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a server may take to start, for a client that ended its input before: what a script
/// writes into a pipe is there at once.
const START: Duration = Duration::from_secs(10);

/// The JSON-RPC code of an error between guard and server.
pub(super) const SERVER_FAILED: i64 = -32_000;

/// A session, which [`run`](Self::run) serves.
pub(crate) struct Session {
    guard: Arc<Guard>,
    /// The requests of the client that have no response yet.
    open: Requests,
    /// The requests of the server that have no response yet.
    asked: Asked,
    /// Limits the notifications of the server that are being decided on.
    checks: Arc<Semaphore>,
    /// The caller of the client's last message, in whose name the server's requests are asked.
    last_caller: Option<Caller>,
    handshake: Handshake,
    tools: ToolList,
    announcements: Announcements,
    tasks: Tasks,
    /// The credentials of the server, which the connection to it sends.
    credentials: Arc<Credentials>,
    /// Messages that wait for the client, and for the server.
    to_client: VecDeque<ToClient>,
    to_server: VecDeque<ToServer>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed its side.
    ByClient,
    /// The server closed its side, or a transport broke.
    ByServer,
}

impl Session {
    pub(crate) fn new(guard: Arc<Guard>) -> Self {
        Self {
            announcements: Announcements::new(&guard),
            open: Requests::new(guard.limits.requests),
            asked: Asked::default(),
            checks: Arc::new(Semaphore::new(MAX_CHECKS)),
            last_caller: None,
            handshake: Handshake::default(),
            tools: ToolList::new(),
            tasks: Tasks::new(),
            credentials: Arc::new(guard.credentials()),
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            guard,
        }
    }

    /// Returns the credentials of the server in this session.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Serves the session until one side closes. Dropping the future ends it at once: no message is
    /// forwarded any more.
    pub(crate) async fn run(mut self, client: ClientLink, server: ServerLink) -> Ended {
        let ClientLink {
            sender: client_sender,
            receiver: mut from_client,
            mut end,
        } = client;
        let ServerLink {
            sender: server_sender,
            receiver: mut from_server,
        } = server;
        // Set when the client is gone: until then, its open requests may still end.
        let mut drain: Option<Instant> = None;
        // Whether all messages of a client that is gone were read, and whether the session ends.
        let (mut is_read, mut is_ending) = (false, false);
        let mut has_started = false;
        let ended = loop {
            self.take_waiting();
            if is_read && self.is_idle() {
                break Ended::ByClient;
            }
            let has_room_for_client = self.has_room_for_client();
            let reads_client = !is_read && has_room_for_client && self.has_room_for_server();
            let reads_server = has_room_for_client && self.to_server.len() < MAX_ANSWERS;
            tokio::select! {
                slot = client_sender.reserve(), if !self.to_client.is_empty() => match slot {
                    Ok(slot) => if let Some(next) = self.to_client.pop_front() { slot.send(next) },
                    Err(_) => break Ended::ByClient,
                },
                slot = server_sender.reserve(), if !self.to_server.is_empty() => match slot {
                    Ok(slot) => if let Some(next) = self.to_server.pop_front() { slot.send(next) },
                    // What the server sent before it ended is still read.
                    Err(_) => self.to_server.clear(),
                },
                from = from_client.recv(), if reads_client => match from {
                    Some(FromClient::Message { message, caller }) => self.receive(message, caller),
                    Some(FromClient::Malformed(malformed)) => self.answer_malformed(&malformed),
                    None => {
                        is_read = true;
                        let wait = if has_started { DRAIN } else { START };
                        drain = Some(sooner(drain, wait));
                    }
                },
                _ = &mut end, if !is_ending => {
                    is_ending = true;
                    from_client.close();
                    drain = Some(sooner(drain, DRAIN));
                }
                from = from_server.recv(), if reads_server => match from {
                    Some(FromServer::Message { message, during }) => {
                        if !has_started {
                            has_started = true;
                            drain = drain.map(|at| sooner(Some(at), DRAIN));
                        }
                        self.on_server(message, during);
                    }
                    Some(FromServer::Malformed(malformed)) => self.on_unreadable(&malformed),
                    Some(FromServer::Failed { id, reason }) => self.on_failed(&id, &reason),
                    Some(FromServer::Closed { reason }) => {
                        self.close(&reason);
                        break Ended::ByServer;
                    }
                    None => {
                        self.close("the server is gone");
                        break Ended::ByServer;
                    }
                },
                () = self.announcements.changed(), if reads_server && self.announcements.is_declared() => {
                    self.on_lists_changed();
                }
                done = self.tasks.next(), if !self.tasks.is_empty() => self.on_done(done),
                () = sleep_until(drain.unwrap_or_else(Instant::now)), if drain.is_some() => {
                    break Ended::ByClient;
                }
            }
        };
        // Nothing else answers what is still open.
        if ended == Ended::ByClient {
            self.close("the session ended before the server answered");
        }
        // The client gets its answers, unless it stopped to read.
        let flush = async {
            for next in self.to_client.drain(..) {
                if client_sender.send(next).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN, flush).await;
        ended
    }

    fn has_room_for_client(&self) -> bool {
        has_room(self.to_client.iter().map(|next| next.text.len()))
    }

    fn has_room_for_server(&self) -> bool {
        let to_server = self.to_server.iter();
        has_room(to_server.map(|next| next.message.text().len())) && self.handshake.has_room()
    }

    /// Whether no request of the client is open and nothing waits to be sent.
    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.to_client.is_empty() && self.to_server.is_empty()
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Asked { id, answer } => self.on_asked(&id, *answer),
            Done::AskedForServer { id, about, answer } => {
                let (message, cleared) = *answer;
                self.on_asked_for_server(id, about, message, cleared);
            }
            Done::Notified(notification) => self.to_client.extend(notification),
            Done::Filtered { id, text } => self.on_filtered(&id, text),
            Done::Overdue { own } => self.on_overdue(&own),
            Done::Progress(message) => {
                // Progress is a courtesy: a client that does not read gets less of it.
                if self.to_client.len() < MAX_WAITING {
                    self.to_client.push_back(message);
                }
            }
            Done::Panicked { id } => {
                if self.open.remove(&id).is_some() {
                    self.fail(&id, "the guard failed");
                }
            }
        }
    }

    /// Tells the client that a text was no message.
    fn answer_malformed(&mut self, malformed: &Malformed) {
        tracing::warn!(%malformed, "refused a text of the client");
        self.to_client.push_back(ToClient {
            text: malformed.response().into(),
            about: None,
            part: Part::Message,
        });
    }

    /// Answers every request with an error: nothing comes from the server any more.
    fn close(&mut self, reason: &str) {
        let open = self.open.drain();
        for id in open.into_iter().chain(self.handshake.take_requests()) {
            self.fail(&id, reason);
        }
        self.to_server.clear();
    }

    /// Answers a request, which is no longer open, with an error.
    fn fail(&mut self, id: &RequestId, reason: &str) {
        self.respond(id, error_response(Some(id), SERVER_FAILED, reason, None));
    }

    /// Sends the response of a request to the client. The request is no longer open.
    fn respond(&mut self, id: &RequestId, text: impl Into<Arc<str>>) {
        self.open.remove(id);
        self.to_client.push_back(ToClient {
            text: text.into(),
            about: Some(id.clone()),
            part: Part::Response,
        });
    }

    /// Sends a response to the server.
    fn answer_server(&mut self, text: &str) {
        match super::message::Message::parse(text) {
            Ok(message) => self.forward(message),
            Err(malformed) => tracing::error!(%malformed, "an answer of the guard is invalid"),
        }
    }
}

/// Whether another message may wait beside those of these lengths.
fn has_room(waiting: impl ExactSizeIterator<Item = usize>) -> bool {
    waiting.len() < MAX_WAITING && waiting.sum::<usize>() < MAX_WAITING_BYTES
}

/// Returns the time after a wait, or the given one if that comes before.
fn sooner(at: Option<Instant>, wait: Duration) -> Instant {
    let end = Instant::now() + wait;
    at.map_or(end, |at| at.min(end))
}

#[cfg(test)]
mod tests {
    use atlasent::testing::MockAuthority;
    use tokio::sync::{mpsc, oneshot};
    use tokio::time::timeout;

    use super::*;
    use crate::guard::message::Message;
    use crate::guard::pins::Pins;
    use crate::{Gate, Mapping};

    #[tokio::test(start_paused = true)]
    async fn large_messages_for_a_client_that_reads_nothing_are_not_read_either() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "fake").unwrap();
        let mapping = Mapping::standard("fake").unwrap();
        let gate = Gate::builder(Arc::new(MockAuthority::new()), mapping).build();
        let session = Session::new(Arc::new(Guard::new(gate, pins)));
        let (to_client, _outgoing) = mpsc::channel(1);
        let (_client, from_client) = mpsc::channel(1);
        let (to_server, _taken) = mpsc::channel(1);
        let (server, from_server) = mpsc::channel(1);
        let (_stay, end) = oneshot::channel();
        let client = ClientLink {
            sender: to_client,
            receiver: from_client,
            end,
        };
        let link = ServerLink {
            sender: to_server,
            receiver: from_server,
        };
        let running = tokio::spawn(session.run(client, link));
        let padding = "x".repeat(MAX_MESSAGE_BYTES / 2);
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":"{padding}"}}}}"#
        );
        let message = Message::parse(&text).unwrap();
        let mut taken = 0;
        while let Ok(room) = timeout(Duration::from_secs(1), server.reserve()).await {
            let message = message.clone();
            room.unwrap().send(FromServer::Message {
                message,
                during: None,
            });
            taken += 1;
        }
        // Those that wait in the session, and one in each channel.
        assert!((4..=7).contains(&taken), "{taken}");
        running.abort();
    }
}
