//! Messages of the server.

use std::sync::Arc;

use super::from_client::{Params, finish};
use super::requests::{AskedStage, Open, Stage};
use super::tasks::Done;
use super::{SERVER_FAILED, Session};
use crate::gate::{List, asks_nothing, may_ask};
use crate::guard::link::{Part, ToClient};
use crate::guard::message::{Kind, Malformed, Message, RequestId, error_response};
use crate::guard::shown::refused_request;
use crate::operation::is_notification_of_server;
use crate::{Clearance, Refusal};

impl Session {
    pub(super) fn on_server(&mut self, message: Message, during: Option<RequestId>) {
        match message.kind().clone() {
            Kind::Result { id } | Kind::Error { id: Some(id) } => self.on_response(id, message),
            Kind::Error { id: None } => {
                tracing::warn!("dropped an error of the server that names no request");
            }
            Kind::Notification { method } => self.on_notification(&method, message, during),
            Kind::Request { id, .. } => self.on_request_of_server(id, message, during),
        }
    }

    /// Answers a request that the server did not take.
    pub(super) fn on_failed(&mut self, id: &RequestId, reason: &str) {
        if self.on_own_failed(id, reason) {
            return;
        }
        match self.open.remove(id) {
            Some(Open {
                stage:
                    Stage::Running {
                        clearance,
                        handover,
                        ..
                    },
                ..
            }) if handover.is_decided() => {
                clearance.failed("the server gave no response");
                self.fail(id, reason);
            }
            // The server does not have the request, or answered it.
            Some(open) => self.open.insert(id.clone(), open),
            None => {}
        }
    }

    /// Drops a text of the server that is no message, and answers the request whose response it
    /// was: no other response comes.
    pub(super) fn on_unreadable(&mut self, malformed: &Malformed) {
        tracing::warn!(%malformed, "dropped a text of the server that is no message");
        if let Some(id) = malformed.answered() {
            let reason = format!("the response of the server is invalid: {malformed}");
            self.on_failed(id, &reason);
        }
    }

    fn on_response(&mut self, id: RequestId, message: Message) {
        if self.tools.is_own(&id) {
            return self.on_own_response(&id, &message);
        }
        let Some(open) = self.open.remove(&id) else {
            match self.open.was_cancelled(&id) {
                true => tracing::debug!(%id, "dropped the response of a cancelled request"),
                false => {
                    tracing::warn!(%id, "dropped a response of the server to an unknown request");
                }
            }
            return;
        };
        let (clearance, caller) = match open.stage {
            Stage::Running {
                clearance,
                caller,
                handover,
            } if handover.is_decided() => (clearance, caller),
            // The server answers a request that it does not have: it guessed the id.
            stage => {
                tracing::warn!(%id, "dropped a response to a request that the server does not have");
                return self.open.insert(id, Open { stage, ..open });
            }
        };
        finish(*clearance, &message);
        let is_list = matches!(message.kind(), Kind::Result { .. })
            && List::of_method(&open.method).is_some();
        if is_list || may_ask(message.body().unwrap_or_default()) {
            let method = open.method.clone();
            let guard = Arc::clone(&self.guard);
            let listed = self.tools.listed().clone();
            let about = id.clone();
            let task = self.tasks.spawn(Some(&id), async move {
                let text = guard
                    .shown(&method, &message, &about, &caller, &listed)
                    .await;
                Done::Filtered { id: about, text }
            });
            let stage = Stage::Finishing(task);
            let progress_token = open.progress_token;
            let method = open.method;
            return self.open.insert(
                id,
                Open {
                    method,
                    progress_token,
                    stage,
                },
            );
        }
        if &*open.method == "initialize"
            && let Some(text) = self.announcements.declare(&id, &message)
        {
            return self.respond(&id, text);
        }
        self.respond(&id, message.to_shared_text());
    }

    /// Sends a checked response to the client.
    pub(super) fn on_filtered(&mut self, id: &RequestId, text: Arc<str>) {
        // A request that was cancelled in the meantime has no response.
        let Some(open) = self.open.get_mut(id) else {
            return;
        };
        // This response may be the one to `initialize`: a result with escapes is checked as well,
        // since an escape may hide the name of a member.
        let response = match &*open.method {
            "initialize" => Message::parse(&text).ok(),
            _ => None,
        };
        let declared = response.and_then(|response| self.announcements.declare(id, &response));
        self.respond(id, declared.map_or(text, Arc::from));
    }

    fn on_notification(&mut self, method: &str, message: Message, during: Option<RequestId>) {
        if !is_notification_of_server(method) {
            tracing::warn!(
                ?message,
                "dropped a notification of the server that the protocol does not know"
            );
            return;
        }
        let params = Params::new(&message);
        let mut about = during.filter(|id| self.open.get_mut(id).is_some());
        match method {
            "notifications/tools/list_changed" => self.tools.forget(),
            "notifications/cancelled" => {
                match message.cancelled().map(|id| self.asked.cancel(&id)) {
                    Some(Some(true)) => {}
                    // The client does not have the request.
                    _ => return,
                }
            }
            "notifications/progress" => {
                let token = params.reported_progress();
                about = about.or_else(|| self.open.by_progress_token(token?));
            }
            _ => {}
        }
        let about = about.or_else(|| self.open.only_running());
        // A notification that asks for nothing keeps its place among the others. One that is
        // decided on may come later.
        match asks_nothing(message.body().unwrap_or_default()) {
            true => self.to_client.push_back(ToClient {
                text: message.to_shared_text(),
                about,
                part: Part::Message,
            }),
            false => self.check_notification(message, about),
        }
    }

    /// Passes a notification on once each request to the client in it has a permit.
    fn check_notification(&mut self, message: Message, about: Option<RequestId>) {
        let (Some(caller), Ok(slot)) = (
            self.last_caller.clone(),
            Arc::clone(&self.checks).try_acquire_owned(),
        ) else {
            tracing::warn!(?message, "dropped a notification that cannot be checked");
            return;
        };
        let guard = Arc::clone(&self.guard);
        self.tasks.spawn(None, async move {
            let checked = guard.check_inputs(&message, &caller).await;
            drop(slot);
            if let Err(refusal) = &checked {
                tracing::warn!(
                    ?message,
                    reason = refusal.reason(),
                    "dropped a notification that asks the client for something"
                );
            }
            Done::Notified(checked.ok().map(|()| ToClient {
                text: message.to_shared_text(),
                about,
                part: Part::Message,
            }))
        });
    }

    fn on_request_of_server(&mut self, id: RequestId, message: Message, during: Option<RequestId>) {
        let refuse = |reason: &str| error_response(Some(&id), SERVER_FAILED, reason, None);
        if self.asked.contains(&id) {
            tracing::warn!(%id, "dropped a request of the server whose id is in use");
            return;
        }
        if self.asked.len() >= self.guard.limits.server_requests {
            let text = refuse("too many requests are open");
            return self.answer_server(&text);
        }
        let Some(caller) = self.last_caller.clone() else {
            let text = refuse("the client sent nothing yet");
            return self.answer_server(&text);
        };
        let about = during.or_else(|| self.open.only_running());
        let guard = Arc::clone(&self.guard);
        let asked = id.clone();
        let task = self.tasks.spawn(None, async move {
            let answer = guard.authorize_for_server(&message, &caller).await;
            Done::AskedForServer {
                id: asked,
                about,
                // The message that was decided on is the one that is passed on.
                answer: Box::new((message, answer)),
            }
        });
        self.asked.insert(id, AskedStage::Asking(task));
    }

    /// Passes a request of the server on to the client, or refuses it.
    pub(super) fn on_asked_for_server(
        &mut self,
        id: RequestId,
        about: Option<RequestId>,
        message: Message,
        cleared: Result<Clearance, Refusal>,
    ) {
        match self.asked.remove(&id) {
            Some(AskedStage::Asking(_)) => {}
            Some(running) => return self.asked.insert(id, running),
            None => return,
        }
        match cleared {
            Ok(clearance) => {
                self.asked
                    .insert(id, AskedStage::Running(Box::new(clearance)));
                self.to_client.push_back(ToClient {
                    text: message.to_shared_text(),
                    about,
                    part: Part::Message,
                });
            }
            Err(refusal) => {
                self.answer_server(&refused_request(&id, &refusal));
            }
        }
    }
}
