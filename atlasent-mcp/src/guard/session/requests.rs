//! The requests of a session that have no response yet, in both directions.

use std::collections::{HashMap, VecDeque};

use tokio::task::AbortHandle;

use crate::guard::link::Handover;
use crate::guard::message::RequestId;
use crate::{Caller, Clearance};

/// The most ids of cancelled requests that are remembered.
const MAX_CANCELLED: usize = 1_024;

/// The requests of the client.
pub(super) struct Requests {
    /// The most open requests.
    limit: usize,
    open: HashMap<RequestId, Open>,
    /// The ids of cancelled requests. Their answers may still come, from the server or from a task,
    /// so a new request cannot have one of these ids.
    cancelled: VecDeque<RequestId>,
}

/// An open request of the client.
pub(super) struct Open {
    pub(super) method: Box<str>,
    /// The token by which the server reports the progress of the request, as JSON.
    pub(super) progress_token: Option<Box<str>>,
    pub(super) stage: Stage,
}

/// How far a request is.
pub(super) enum Stage {
    /// Waits for the list of tools.
    WaitingForTools,
    /// The authority is being asked, or a person has to decide.
    Asking(AbortHandle),
    /// The server has it, or the connection to the server is about to send it.
    Running {
        clearance: Box<Clearance>,
        caller: Caller,
        handover: Handover,
    },
    /// The server answered, and the answer is being checked.
    Finishing(AbortHandle),
}

/// Why a request cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// Its id is that of another request.
    IdInUse,
    /// Too many requests are open.
    TooMany,
}

impl Requests {
    /// Creates a table of at most `limit` open requests.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            open: HashMap::new(),
            cancelled: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.open.contains_key(id)
    }

    /// Checks whether a request with this id can be opened.
    pub(super) fn can_open(&self, id: &RequestId) -> Result<(), NotOpened> {
        if self.open.contains_key(id) || self.cancelled.contains(id) {
            return Err(NotOpened::IdInUse);
        }
        match self.open.len() < self.limit {
            true => Ok(()),
            false => Err(NotOpened::TooMany),
        }
    }

    pub(super) fn insert(&mut self, id: RequestId, open: Open) {
        self.open.insert(id, open);
    }

    pub(super) fn get_mut(&mut self, id: &RequestId) -> Option<&mut Open> {
        self.open.get_mut(id)
    }

    pub(super) fn remove(&mut self, id: &RequestId) -> Option<Open> {
        self.open.remove(id)
    }

    /// Cancels a request. Returns whether the server has it.
    pub(super) fn cancel(&mut self, id: &RequestId) -> Option<bool> {
        let open = self.open.remove(id)?;
        let is_running = match open.stage {
            Stage::WaitingForTools => false,
            Stage::Asking(task) | Stage::Finishing(task) => {
                task.abort();
                false
            }
            // Dropping the clearance records the call as cancelled. If the connection has not begun
            // to send the call, it is withdrawn.
            Stage::Running { handover, .. } => !handover.decide(),
        };
        if self.cancelled.len() == MAX_CANCELLED {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(id.clone());
        Some(is_running)
    }

    /// Forgets that a request was cancelled, when its response comes after all. Returns whether it
    /// was.
    pub(super) fn was_cancelled(&mut self, id: &RequestId) -> bool {
        let position = self.cancelled.iter().position(|cancelled| cancelled == id);
        position.is_some_and(|position| self.cancelled.remove(position).is_some())
    }

    /// Closes all requests, and returns their ids.
    pub(super) fn drain(&mut self) -> Vec<RequestId> {
        let open = std::mem::take(&mut self.open);
        open.into_iter()
            .map(|(id, open)| {
                match open.stage {
                    Stage::Asking(task) | Stage::Finishing(task) => task.abort(),
                    // What the connection did not begin to send is withdrawn.
                    Stage::Running { handover, .. } => {
                        handover.decide();
                    }
                    Stage::WaitingForTools => {}
                }
                id
            })
            .collect()
    }

    /// Returns the request that a progress token belongs to.
    pub(super) fn by_progress_token(&self, token: &str) -> Option<RequestId> {
        let mut open = self.open.iter();
        let found = open.find(|(_, open)| open.progress_token.as_deref() == Some(token));
        found.map(|(id, _)| id.clone())
    }

    /// Returns the request that runs, if it is the only one.
    pub(super) fn only_running(&self) -> Option<RequestId> {
        let mut running = self
            .open
            .iter()
            .filter(|(_, open)| matches!(open.stage, Stage::Running { .. }));
        match (running.next(), running.next()) {
            (Some((id, _)), None) => Some(id.clone()),
            _ => None,
        }
    }
}

/// The requests of the server.
#[derive(Default)]
pub(super) struct Asked(HashMap<RequestId, AskedStage>);

/// How far a request of the server is.
pub(super) enum AskedStage {
    /// The authority is being asked.
    Asking(AbortHandle),
    /// The client has it.
    Running(Box<Clearance>),
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: RequestId, stage: AskedStage) {
        self.0.insert(id, stage);
    }

    pub(super) fn remove(&mut self, id: &RequestId) -> Option<AskedStage> {
        self.0.remove(id)
    }

    /// Cancels a request of the server. Returns whether the client has it.
    pub(super) fn cancel(&mut self, id: &RequestId) -> Option<bool> {
        match self.0.remove(id)? {
            AskedStage::Asking(task) => {
                task.abort();
                Some(false)
            }
            AskedStage::Running(_) => Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    #[test]
    fn a_request_that_is_closed_is_withdrawn_from_the_connection() {
        let handover = Handover::default();
        let ping = Operation::parse("ping", None).unwrap();
        let stage = Stage::Running {
            clearance: Box::new(Clearance::open(&ping)),
            caller: Caller::configured("ann").unwrap(),
            handover: handover.clone(),
        };
        let open = Open {
            method: "ping".into(),
            progress_token: None,
            stage,
        };
        let mut requests = Requests::new(1);
        requests.insert(RequestId::Number(1), open);
        assert_eq!(requests.drain(), [RequestId::Number(1)]);
        assert!(!handover.decide(), "the connection can still send it");
    }
}
