//! The sessions of an HTTP endpoint: their ids, their streams, and when they end.

#[cfg(test)]
#[cfg(unix)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};
use uuid::Uuid;

use super::headers::FIRST_WITH_PRIMERS;
use super::outbox::Outbox;
use super::slots::{NoSlot, Slot, Slots};
use crate::Caller;
use crate::guard::limits::Limits;
use crate::guard::link::{CHANNEL, ClientLink, FromClient, Part, ToClient};
use crate::guard::message::RequestId;
use crate::guard::session::Session;
use crate::guard::{Guard, Upstream};

/// How often sessions that nothing uses are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a session and its server have to end. It is longer than a server that ends by itself
/// or by a signal needs.
const END: Duration = Duration::from_secs(12);
/// The stream of the first request of a session.
const FIRST_STREAM: u64 = 1;
/// The most finished streams of a session that can still be resumed.
const MAX_FINISHED: usize = 16;

/// The sessions of an endpoint.
pub(super) struct Sessions {
    guard: Arc<Guard>,
    upstream: Upstream,
    by_id: Mutex<HashMap<String, Arc<HttpSession>>>,
    /// The slots of all sessions, also of those for one request.
    slots: Arc<Slots>,
}

/// One session.
pub(super) struct HttpSession {
    pub(super) id: String,
    /// Whether the session began with `initialize`, and later requests can find it.
    is_kept: bool,
    /// The caller that opened the session. Other agents, and other actors of the same agent, cannot
    /// use it.
    owner: Caller,
    sender: mpsc::Sender<FromClient>,
    /// Dropped when the session has to end.
    stay: Mutex<Option<oneshot::Sender<()>>>,
    streams: Mutex<Streams>,
    next_stream: AtomicU64,
    limits: Limits,
    /// The version of the protocol that client and server negotiated. `None` if the response to
    /// `initialize` was an error.
    negotiated: OnceLock<Option<String>>,
    used_at: Mutex<Instant>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Streams {
    /// What belongs to no request.
    common: Arc<Outbox>,
    by_request: HashMap<RequestId, Arc<Outbox>>,
    finished: VecDeque<Arc<Outbox>>,
    /// Whether the session is over. Its streams then get no more messages.
    is_over: bool,
}

impl Streams {
    /// Keeps a stream that ended, so that it can be resumed, and forgets the oldest ones. Several
    /// of them have at most `max_bytes`.
    fn finish(&mut self, outbox: Arc<Outbox>, max_bytes: usize) {
        self.finished.push_back(outbox);
        let mut bytes: usize = self.finished.iter().map(|outbox| outbox.bytes()).sum();
        while self.finished.len() > 1 && (self.finished.len() > MAX_FINISHED || bytes > max_bytes) {
            if let Some(oldest) = self.finished.pop_front() {
                bytes = bytes.saturating_sub(oldest.bytes());
            }
        }
    }
}

/// Why a request has no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStream {
    /// Another open request has the same id.
    IdInUse,
    /// The session is over.
    Over,
}

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error("too many sessions are open: {0}")]
    NoSlot(#[from] NoSlot),
    #[error("the server cannot be started: {0}")]
    Server(std::io::Error),
}

impl Sessions {
    pub(super) fn new(guard: Arc<Guard>, upstream: Upstream) -> Self {
        Self {
            slots: Slots::new(guard.limits.of_sessions(&upstream)),
            guard,
            upstream,
            by_id: Mutex::default(),
        }
    }

    /// Opens a session for an agent. `keep` says whether later requests can find it by its id.
    pub(super) fn open(
        self: &Arc<Self>,
        caller: &Caller,
        keep: bool,
    ) -> Result<Arc<HttpSession>, NotOpened> {
        let slot = self.slots.take(caller.agent(), 1)?;
        let running = Session::new(Arc::clone(&self.guard));
        let limits = self.guard.limits.clone();
        let server = self.upstream.connect(running.credentials());
        let server = server.map_err(NotOpened::Server)?;
        let (sender, from_client) = mpsc::channel(CHANNEL);
        let (stay, end) = oneshot::channel();
        let (to_client, mut outgoing) = mpsc::channel::<ToClient>(CHANNEL);
        let session = Arc::new(HttpSession {
            // 122 random bits, from the operating system's generator.
            id: Uuid::new_v4().simple().to_string(),
            is_kept: keep,
            owner: caller.clone(),
            sender,
            stay: Mutex::new(Some(stay)),
            streams: Mutex::new(Streams {
                common: Arc::new(Outbox::new(0, &limits)),
                by_request: HashMap::new(),
                finished: VecDeque::new(),
                is_over: false,
            }),
            next_stream: AtomicU64::new(FIRST_STREAM),
            limits,
            negotiated: OnceLock::new(),
            used_at: Mutex::new(Instant::now()),
            task: Mutex::default(),
        });
        if keep {
            self.by_id()
                .insert(session.id.clone(), Arc::clone(&session));
        }
        let client = ClientLink {
            sender: to_client,
            receiver: from_client,
            end,
        };
        let this = Arc::downgrade(&session);
        let closing = Closing {
            sessions: Arc::clone(self),
            session: Weak::clone(&this),
            id: session.id.clone(),
            _slot: slot,
        };
        let sessions = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _closing = closing;
            let serving = server.serve(running, client);
            let delivering = async {
                while let Some(message) = outgoing.recv().await {
                    let Some(session) = this.upgrade() else {
                        return;
                    };
                    session.deliver(message);
                    // The client still reads the error: it holds the stream.
                    if session.is_refused() {
                        drop(sessions.end(&session));
                    }
                }
            };
            tokio::join!(serving, delivering);
        });
        *lock(&session.task) = Some(task);
        Ok(session)
    }

    /// Returns a session of a caller. The session of another one is as unknown as none.
    pub(super) fn get(&self, id: &str, caller: &Caller) -> Option<Arc<HttpSession>> {
        let session = self.by_id().get(id).cloned()?;
        session.owner.is_same_as(caller).then(|| {
            session.touch();
            session
        })
    }

    /// Ends a session. The task resolves when it has ended: its server ends with it, and a session
    /// that does not end in time is aborted.
    pub(super) fn end(&self, session: &HttpSession) -> JoinHandle<()> {
        self.by_id().remove(&session.id);
        session.tell_to_end();
        let task = lock(&session.task).take();
        tokio::spawn(async move {
            let Some(mut task) = task else { return };
            if timeout(END, &mut task).await.is_err() {
                tracing::warn!("a session did not end in time");
                task.abort();
                let _ = task.await;
            }
        })
    }

    /// Ends all sessions.
    pub(super) async fn end_all(&self) {
        let all: Vec<_> = self.by_id().values().cloned().collect();
        let ending: Vec<_> = all.iter().map(|session| self.end(session)).collect();
        drop(all);
        for ended in ending {
            let _ = ended.await;
        }
    }

    /// Ends the sessions that nothing uses, again and again.
    pub(super) async fn end_idle_ones(&self) {
        let mut sweeps = interval(SWEEP);
        loop {
            sweeps.tick().await;
            self.end_idle();
        }
    }

    fn end_idle(&self) {
        let idle: Vec<_> = {
            let by_id = self.by_id();
            by_id
                .values()
                .filter(|session| session.is_idle())
                .cloned()
                .collect()
        };
        for session in idle {
            drop(self.end(&session));
        }
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<String, Arc<HttpSession>>> {
        lock(&self.by_id)
    }
}

/// What is left to do when a session has ended, also if its task was aborted.
struct Closing {
    sessions: Arc<Sessions>,
    session: Weak<HttpSession>,
    id: String,
    _slot: Slot,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.sessions.by_id().remove(&self.id);
        if let Some(session) = self.session.upgrade() {
            session.complete();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpSession {
    /// Waits until the session has room for a message of the client. Fails if the session is over.
    pub(super) async fn reserve(&self) -> Result<mpsc::Permit<'_, FromClient>, ()> {
        self.sender.reserve().await.map_err(drop)
    }

    /// Returns the version of the protocol that client and server negotiated, once it is known.
    pub(super) fn version(&self) -> Option<&str> {
        self.negotiated.get()?.as_deref()
    }

    /// Returns whether the streams of requests begin with an event without data, by which the
    /// client can come back.
    pub(super) fn primes_streams(&self) -> bool {
        self.version()
            .is_some_and(|version| version >= FIRST_WITH_PRIMERS)
    }

    /// Returns whether the response to `initialize` was an error. The session ends then.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.negotiated.get(), Some(None))
    }

    /// Reads the version of the protocol from the response to `initialize`.
    fn initialized(&self, response: &str) {
        #[derive(Deserialize)]
        struct Response {
            result: Option<Initialized>,
            error: Option<IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Initialized {
            #[serde(rename = "protocolVersion")]
            version: String,
        }
        let Ok(Response { result, error }) = serde_json::from_str(response) else {
            return;
        };
        if error.is_some() || result.is_some() {
            let _ = self.negotiated.set(result.map(|result| result.version));
        }
    }

    /// Opens the stream of a request.
    pub(super) fn open_stream(&self, id: &RequestId) -> Result<Arc<Outbox>, NoStream> {
        let mut streams = self.streams();
        if streams.is_over {
            return Err(NoStream::Over);
        }
        if streams.by_request.contains_key(id) {
            return Err(NoStream::IdInUse);
        }
        let number = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(number, &self.limits));
        streams.by_request.insert(id.clone(), Arc::clone(&outbox));
        Ok(outbox)
    }

    /// Returns the stream of what belongs to no request.
    pub(super) fn common(&self) -> Arc<Outbox> {
        Arc::clone(&self.streams().common)
    }

    /// Returns a stream by its number.
    pub(super) fn stream(&self, number: u64) -> Option<Arc<Outbox>> {
        let streams = self.streams();
        let mut all = (streams.by_request.values())
            .chain(&streams.finished)
            .chain([&streams.common]);
        all.find(|outbox| outbox.number() == number).cloned()
    }

    fn deliver(&self, message: ToClient) {
        let mut streams = self.streams();
        let ToClient { text, about, part } = message;
        let of_request = about
            .as_ref()
            .and_then(|id| streams.by_request.get(id))
            .cloned();
        match (of_request, about) {
            (None, _) if part == Part::End => {}
            (Some(outbox), Some(id)) if part != Part::Message => {
                match part {
                    Part::End => outbox.complete(),
                    Part::Message | Part::Response => {
                        if self.is_kept && outbox.number() == FIRST_STREAM {
                            self.initialized(&text);
                        }
                        outbox.push(text, true);
                    }
                }
                streams.by_request.remove(&id);
                // A client whose call took long is not gone.
                self.touch();
                streams.finish(outbox, self.limits.resumable_bytes);
            }
            (Some(outbox), _) => outbox.push(text, false),
            _ => streams.common.push(text, false),
        }
    }

    /// Ends all streams, because the session is over.
    fn complete(&self) {
        let mut streams = self.streams();
        streams.is_over = true;
        for outbox in streams.by_request.values().chain([&streams.common]) {
            outbox.complete();
        }
    }

    /// Tells the session to end, which ends its server.
    fn tell_to_end(&self) {
        lock(&self.stay).take();
    }

    fn is_idle(&self) -> bool {
        let used_at = *lock(&self.used_at);
        let streams = self.streams();
        used_at.elapsed() > self.limits.session_idle
            && streams.by_request.is_empty()
            && !streams.common.is_read()
    }

    /// Notes that the session is used.
    pub(super) fn touch(&self) {
        *lock(&self.used_at) = Instant::now();
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }
}
