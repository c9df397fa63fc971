//! Messages of the client.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::progress::Reporter;
use super::requests::{AskedStage, NotOpened, Open, Stage};
use super::tasks::{Answer, Done};
use super::tools::Waiting;
use super::{SERVER_FAILED, Session, ToServer};
use crate::guard::link::{Handover, Part, ToClient};
use crate::guard::message::{Kind, Malformed, Message, RequestId, error_response};
use crate::guard::operation;
use crate::operation::Kind as OperationKind;
use crate::{Caller, Clearance};

/// The members of `params` that a session reads.
#[derive(Default, Deserialize)]
pub(super) struct Params<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

impl<'a> Params<'a> {
    pub(super) fn new(message: &'a Message) -> Self {
        let params = message
            .body()
            .and_then(|params| serde_json::from_str(params).ok());
        params.unwrap_or_default()
    }

    /// Returns the token by which the sender wants to hear of progress, as JSON.
    pub(super) fn wanted_progress(&self) -> Option<&'a str> {
        self.meta.as_ref()?.progress_token.map(RawValue::get)
    }

    /// Returns the token of a report of progress, as JSON.
    pub(super) fn reported_progress(&self) -> Option<&'a str> {
        self.progress_token.map(RawValue::get)
    }
}

impl Session {
    pub(super) fn on_client(&mut self, message: Message, caller: Caller) {
        self.credentials.heard_from(&caller);
        self.last_caller = Some(caller.clone());
        match message.kind().clone() {
            Kind::Request { id, method } => self.on_request(id, method, message, caller),
            Kind::Notification { method } => match &*method {
                "notifications/cancelled" => self.on_cancelled_by_client(message),
                _ => self.on_notification_of_client(message),
            },
            Kind::Result { id } | Kind::Error { id: Some(id) } => {
                self.on_response_of_client(&id, message);
            }
            Kind::Error { id: None } => {
                tracing::warn!("dropped an error of the client that names no request");
            }
        }
    }

    fn on_request(&mut self, id: RequestId, method: Box<str>, message: Message, caller: Caller) {
        match self.open.can_open(&id) {
            Ok(()) if !self.tools.is_own(&id) => {}
            // A response with this id would be taken for that of the other request.
            Ok(()) | Err(NotOpened::IdInUse) => {
                tracing::warn!(%id, "refused a request whose id is in use");
                return self.to_client.push_back(ToClient {
                    text: Malformed::id_in_use(&id).response().into(),
                    about: Some(id),
                    part: Part::Response,
                });
            }
            Err(NotOpened::TooMany) => {
                let reason = "too many requests are open: wait for the response of one";
                let text = error_response(Some(&id), SERVER_FAILED, reason, None);
                return self.respond(&id, text);
            }
        }
        let progress_token = Params::new(&message).wanted_progress().map(Box::from);
        let open = Open {
            progress_token,
            stage: Stage::WaitingForTools,
            method: method.clone(),
        };
        self.open.insert(id.clone(), open);
        if &*method == "initialize" {
            self.handshake.begin(&id);
        }
        match &*method {
            // A list shows what its caller may set, so it needs the definitions, too.
            "tools/call" | "tools/list" => {
                self.when_listed(Waiting::Unasked(id, message, caller));
            }
            _ => self.ask(id, message, caller),
        }
    }

    /// Asks the authority about a request.
    pub(super) fn ask(&mut self, id: RequestId, message: Message, caller: Caller) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let token = open.progress_token.as_deref();
        let progress = Reporter::new(&id, token, self.tasks.reporter());
        let (guard, credentials) = (Arc::clone(&self.guard), Arc::clone(&self.credentials));
        let listed = self.tools.listed().clone();
        let about = id.clone();
        let task = self.tasks.spawn(Some(&id), async move {
            let mut cleared = guard.authorize(&message, &caller, &listed, &progress).await;
            // The connection sends them. A refusal of them is told to the client as such.
            if let Ok(clearance) = &cleared
                && let Err(refusal) = credentials.check(clearance.permit()).await
            {
                cleared = Err(refusal);
            }
            let answer = Answer {
                message,
                caller,
                cleared,
            };
            Done::Asked {
                id: about,
                answer: Box::new(answer),
            }
        });
        open.stage = Stage::Asking(task);
    }

    /// Forwards a request that is permitted, and answers one that is not.
    pub(super) fn on_asked(&mut self, id: &RequestId, answer: Answer) {
        // A request that was cancelled in the meantime is forwarded no more.
        let Some(open) = self.open.get_mut(id) else {
            return;
        };
        let cleared = match answer.cleared {
            // The server changed its tools while people decided: the guard looks at them first.
            Ok(clearance) if is_call(&clearance) && !self.tools.is_known() => {
                open.stage = Stage::WaitingForTools;
                let cleared = Ok(clearance);
                let answer = Box::new(Answer { cleared, ..answer });
                return self.when_listed(Waiting::Permitted(id.clone(), answer));
            }
            // The permit of a call that is refused here is recorded as cancelled.
            Ok(clearance) => self
                .guard
                .check_tool(clearance.operation(), self.tools.listed())
                .map(|()| clearance),
            Err(refusal) => Err(refusal),
        };
        match cleared {
            Ok(mut clearance) => {
                let permit = clearance.take_permit();
                let permit = permit.map(|granted| Box::new(granted.permit));
                let handover = Handover::default();
                open.stage = Stage::Running {
                    clearance: Box::new(clearance),
                    caller: answer.caller,
                    handover: handover.clone(),
                };
                self.to_server.push_back(ToServer {
                    message: answer.message,
                    permit,
                    handover,
                });
            }
            Err(refusal) => {
                let text = self.guard.refused(&answer.message, id, &refusal);
                self.respond(id, text);
            }
        }
    }

    /// Forwards a notification that the protocol knows. Another one could be a call in disguise.
    fn on_notification_of_client(&mut self, message: Message) {
        match operation(&message) {
            Ok(operation) if operation.kind() == OperationKind::Lifecycle => self.forward(message),
            _ => tracing::warn!(
                ?message,
                "dropped a notification that the protocol does not know"
            ),
        }
    }

    fn on_cancelled_by_client(&mut self, message: Message) {
        let Some(id) = message.cancelled() else {
            tracing::warn!("dropped a cancellation that names no request");
            return;
        };
        self.tools.cancel(&id);
        match self.open.cancel(&id) {
            Some(true) => self.forward(message),
            Some(false) => {
                // The messages in this queue are unsent, so a decided one is the withdrawn one.
                self.to_server.retain(|next| !next.handover.is_decided());
                tracing::debug!(%id, "cancelled before the server had it");
            }
            None => {
                tracing::debug!(%id, "dropped the cancellation of a request that is not open");
                return;
            }
        }
        self.to_client.push_back(ToClient {
            text: "".into(),
            about: Some(id),
            part: Part::End,
        });
    }

    fn on_response_of_client(&mut self, id: &RequestId, message: Message) {
        match self.asked.remove(id) {
            Some(AskedStage::Running(clearance)) => {
                finish(*clearance, &message);
                self.forward(message);
            }
            // The client cannot know the id yet: it guessed.
            Some(asking) => {
                self.asked.insert(id.clone(), asking);
                tracing::warn!(%id, "dropped a response to a request that the client does not have");
            }
            None => tracing::warn!(%id, "dropped a response of the client to an unknown request"),
        }
    }

    /// Forwards a message that needs no permit of its own.
    pub(super) fn forward(&mut self, message: Message) {
        self.to_server.push_back(ToServer::without_permit(message));
    }
}

fn is_call(clearance: &Clearance) -> bool {
    clearance.operation().kind() == OperationKind::Tool
}

/// Records how a request ended.
pub(super) fn finish(clearance: Clearance, response: &Message) {
    match (response.kind(), response.body()) {
        (Kind::Result { .. }, Some(result)) if is_tool_error(result) => {
            clearance.failed("the tool reported an error");
        }
        (Kind::Result { .. }, Some(result)) => clearance.completed(result),
        _ => clearance.failed("the server answered with an error"),
    }
}

/// Whether a result is that of a tool that failed.
fn is_tool_error(result: &str) -> bool {
    #[derive(Deserialize)]
    struct ToolResult {
        #[serde(rename = "isError")]
        is_error: Option<bool>,
    }
    // Most results have no such member, and a large one is not read for it.
    result.contains("\"isError\"")
        && serde_json::from_str(result).is_ok_and(|ToolResult { is_error }| is_error == Some(true))
}
