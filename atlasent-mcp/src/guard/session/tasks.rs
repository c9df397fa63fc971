//! What runs beside a session: questions to the authority, and checks of answers.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::guard::link::ToClient;
use crate::guard::message::{Message, RequestId};
use crate::{Caller, Clearance, Refusal};

/// The most reports of progress that wait for a session.
const MAX_PROGRESS: usize = 32;

/// What a task ended with.
pub(super) enum Done {
    /// The authority answered about a request of the client.
    Asked { id: RequestId, answer: Box<Answer> },
    /// The authority answered about a request of the server.
    AskedForServer {
        id: RequestId,
        /// The request of the client that it belongs to.
        about: Option<RequestId>,
        answer: Box<(Message, Result<Clearance, Refusal>)>,
    },
    /// The requests within a notification of the server were decided on. `None` drops the
    /// notification.
    Notified(Option<ToClient>),
    /// The response for the client.
    Filtered { id: RequestId, text: Arc<str> },
    /// The server did not answer a request of the guard in time.
    Overdue { own: RequestId },
    /// A report of progress for the client.
    Progress(ToClient),
    /// The task of a request panicked.
    Panicked { id: RequestId },
}

/// What the authority answered about a request.
pub(super) struct Answer {
    /// The request that was decided on, which is the one to forward.
    pub(super) message: Message,
    pub(super) caller: Caller,
    pub(super) cleared: Result<Clearance, Refusal>,
}

/// The tasks of a session. They end with it.
pub(super) struct Tasks {
    running: JoinSet<Done>,
    /// The requests of the client that tasks are about.
    about: HashMap<Id, RequestId>,
    reports: mpsc::Receiver<ToClient>,
    reporter: mpsc::Sender<ToClient>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        let (reporter, reports) = mpsc::channel(MAX_PROGRESS);
        Self {
            running: JoinSet::new(),
            about: HashMap::new(),
            reports,
            reporter,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts a task. `about` is the request of the client that fails if the task panics.
    pub(super) fn spawn(
        &mut self,
        about: Option<&RequestId>,
        task: impl Future<Output = Done> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.running.spawn(task);
        if let Some(id) = about {
            self.about.insert(handle.id(), id.clone());
        }
        handle
    }

    /// Returns where tasks report progress.
    pub(super) fn reporter(&self) -> mpsc::Sender<ToClient> {
        self.reporter.clone()
    }

    /// Returns what happens next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            tokio::select! {
                Some(report) = self.reports.recv() => return Done::Progress(report),
                Some(ended) = self.running.join_next_with_id() => match ended {
                    Ok((task, done)) => {
                        self.about.remove(&task);
                        return done;
                    }
                    Err(error) => {
                        let about = self.about.remove(&error.id());
                        if let (true, Some(id)) = (error.is_panic(), about) {
                            return Done::Panicked { id };
                        }
                    }
                },
                // Without tasks there is nothing to wait for.
                else => std::future::pending().await,
            }
        }
    }
}
