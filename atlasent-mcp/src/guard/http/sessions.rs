//! The sessions of an HTTP endpoint: their ids, their streams, and when they end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::outbox::Outbox;
use crate::Caller;
use crate::guard::link::{CHANNEL, ClientLink, FromClient, Part, ToClient};
use crate::guard::message::RequestId;
use crate::guard::session::Session;
use crate::guard::{Guard, Upstream};

/// The most sessions at a time.
pub(super) const MAX_SESSIONS: usize = 4_096;
/// A session that nothing used for this long ends.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// The most finished streams of a session that can still be resumed.
const MAX_FINISHED: usize = 16;

/// The sessions of an endpoint.
pub(super) struct Sessions {
    guard: Arc<Guard>,
    upstream: Upstream,
    by_id: Mutex<HashMap<String, Arc<HttpSession>>>,
    /// The number of sessions, also of those for one request.
    open: AtomicUsize,
}

/// One session.
pub(super) struct HttpSession {
    pub(super) id: String,
    /// The caller that opened the session. Other agents, and other actors of the same agent, cannot
    /// use it.
    owner: Caller,
    sender: mpsc::Sender<FromClient>,
    streams: Mutex<Streams>,
    next_stream: AtomicU64,
    used_at: Mutex<Instant>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Streams {
    /// What belongs to no request.
    common: Arc<Outbox>,
    by_request: HashMap<RequestId, Arc<Outbox>>,
    finished: VecDeque<Arc<Outbox>>,
}

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error("too many sessions are open")]
    TooMany,
    #[error("the server cannot be started: {0}")]
    Server(std::io::Error),
}

impl Sessions {
    pub(super) fn new(guard: Arc<Guard>, upstream: Upstream) -> Self {
        Self {
            guard,
            upstream,
            by_id: Mutex::default(),
            open: AtomicUsize::new(0),
        }
    }

    /// Opens a session for an agent. `keep` says whether later requests can find it by its id.
    pub(super) fn open(
        self: &Arc<Self>,
        caller: &Caller,
        keep: bool,
    ) -> Result<Arc<HttpSession>, NotOpened> {
        self.end_idle();
        if self.open.load(Ordering::Relaxed) >= MAX_SESSIONS {
            return Err(NotOpened::TooMany);
        }
        let running = Session::new(Arc::clone(&self.guard));
        let server = self.upstream.connect(running.credentials());
        let server = server.map_err(NotOpened::Server)?;
        let (sender, from_client) = mpsc::channel(CHANNEL);
        let (to_client, mut outgoing) = mpsc::channel::<ToClient>(CHANNEL);
        let session = Arc::new(HttpSession {
            // 122 random bits, from the operating system's generator.
            id: Uuid::new_v4().simple().to_string(),
            owner: caller.clone(),
            sender,
            streams: Mutex::new(Streams {
                common: Arc::new(Outbox::new(0)),
                by_request: HashMap::new(),
                finished: VecDeque::new(),
            }),
            next_stream: AtomicU64::new(1),
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
        };
        let (sessions, this) = (Arc::clone(self), Arc::downgrade(&session));
        let id = session.id.clone();
        self.open.fetch_add(1, Ordering::Relaxed);
        let task = tokio::spawn(async move {
            let serving = server.serve(running, client);
            let delivering = async {
                while let Some(message) = outgoing.recv().await {
                    let Some(session) = this.upgrade() else {
                        return;
                    };
                    session.deliver(message);
                }
            };
            tokio::join!(serving, delivering);
            sessions.open.fetch_sub(1, Ordering::Relaxed);
            sessions.by_id().remove(&id);
            if let Some(session) = this.upgrade() {
                session.complete();
            }
        });
        *session.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
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

    /// Ends a session.
    pub(super) fn end(&self, session: &HttpSession) {
        self.by_id().remove(&session.id);
        // The session ends its server when its client is gone.
        let _ = session.sender.try_send(FromClient::Closed);
    }

    /// Ends all sessions.
    pub(super) async fn end_all(&self) {
        let all: Vec<_> = self.by_id().drain().map(|(_, session)| session).collect();
        for session in &all {
            let _ = session.sender.try_send(FromClient::Closed);
        }
        for session in all {
            let task = session
                .task
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(task) = task {
                let _ = task.await;
            }
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
            self.end(&session);
        }
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<String, Arc<HttpSession>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpSession {
    /// Hands a message of the client to the session. Fails if the session is over.
    pub(super) async fn send(&self, from: FromClient) -> Result<(), ()> {
        self.sender.send(from).await.map_err(drop)
    }

    /// Opens the stream of a request. `None` if a request with this id is open.
    pub(super) fn open_stream(&self, id: &RequestId) -> Option<Arc<Outbox>> {
        let mut streams = self.streams();
        if streams.by_request.contains_key(id) {
            return None;
        }
        let number = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(number));
        streams.by_request.insert(id.clone(), Arc::clone(&outbox));
        Some(outbox)
    }

    /// Forgets the stream of a request that was not sent.
    pub(super) fn close_stream(&self, id: &RequestId) {
        self.streams().by_request.remove(id);
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
                    Part::Message | Part::Response => outbox.push(text, true),
                }
                streams.by_request.remove(&id);
                streams.finished.push_back(outbox);
                if streams.finished.len() > MAX_FINISHED {
                    streams.finished.pop_front();
                }
            }
            (Some(outbox), _) => outbox.push(text, false),
            _ => streams.common.push(text, false),
        }
    }

    /// Ends all streams, because the session is over.
    fn complete(&self) {
        let streams = self.streams();
        for outbox in streams.by_request.values().chain([&streams.common]) {
            outbox.complete();
        }
    }

    fn is_idle(&self) -> bool {
        let used_at = *self.used_at.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = self.streams();
        used_at.elapsed() > IDLE && streams.by_request.is_empty() && !streams.common.is_read()
    }

    fn touch(&self) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
