//! The start of a session: until `initialize` is answered, the client's later messages wait.
//!
//! A script may write all of its messages at once. The guard decides on a request before it passes
//! it on, so a notification could reach the server before the `initialize` in front of it.

use std::collections::VecDeque;

use super::{Session, has_room};
use crate::Caller;
use crate::guard::message::{Kind, Message, RequestId};

/// The `initialize` of a session, and the messages that wait for its response.
#[derive(Default)]
pub(super) struct Handshake {
    initialize: Option<RequestId>,
    waiting: VecDeque<(Message, Caller)>,
}

impl Handshake {
    /// Notes the request `initialize`.
    pub(super) fn begin(&mut self, id: &RequestId) {
        self.initialize = Some(id.clone());
    }

    /// Whether another message may wait.
    pub(super) fn has_room(&self) -> bool {
        has_room(self.waiting.iter().map(|(message, _)| message.text().len()))
    }

    /// Takes the requests that wait. None of them was opened.
    pub(super) fn take_requests(&mut self) -> Vec<RequestId> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let requests = waiting.filter_map(|(message, _)| match message.kind() {
            Kind::Request { id, .. } => Some(id.clone()),
            _ => None,
        });
        requests.collect()
    }
}

impl Session {
    /// Takes a message of the client, or lets it wait for the response of `initialize`. A ping and
    /// the client's responses never wait: a server may ask before it answers `initialize`.
    pub(super) fn receive(&mut self, message: Message, caller: Caller) {
        let may_wait = match message.kind() {
            Kind::Request { method, .. } => &**method != "ping",
            Kind::Notification { .. } => true,
            Kind::Result { .. } | Kind::Error { .. } => false,
        };
        match may_wait && self.is_initializing() {
            true => self.handshake.waiting.push_back((message, caller)),
            false => self.on_client(message, caller),
        }
    }

    /// Takes the messages that waited, once `initialize` is answered.
    pub(super) fn take_waiting(&mut self) {
        while !self.is_initializing() {
            let Some((message, caller)) = self.handshake.waiting.pop_front() else {
                return;
            };
            self.on_client(message, caller);
        }
    }

    fn is_initializing(&self) -> bool {
        let initialize = self.handshake.initialize.as_ref();
        initialize.is_some_and(|id| self.open.contains(id))
    }
}
