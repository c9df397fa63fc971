//! The messages of `rmcp` as operations.
//!
//! `rmcp` has read a message before a server sees it. So the operation is read from the text that
//! the typed message is written as: what is decided on is what the server gets, and not a text that
//! another reader could read otherwise.

use std::borrow::Cow;

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, ClientRequest, ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::gate::{Progress, WaitingFor};
use crate::operation::{Kind, Operation, is_notification_of_server};
use crate::refusal::Refusal;
use crate::tool::{Tool, ToolError};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Reads the text of a message without its `id`.
pub(super) fn operation(text: &str) -> Result<Operation, Refusal> {
    let message: Message<'_> = serde_json::from_str(text)
        .map_err(|_| Refusal::invalid("MALFORMED", "the message cannot be read"))?;
    Ok(Operation::parse(&message.method, message.params)?)
}

/// Reads a notification of a server. Returns the text of its `params`, or `None` if servers send no
/// such notification.
pub(super) fn params_of_notification(text: &str) -> Option<&str> {
    let message: Message<'_> = serde_json::from_str(text).ok()?;
    let params = message.params.map_or("{}", RawValue::get);
    is_notification_of_server(&message.method).then_some(params)
}

fn written(message: &impl serde::Serialize) -> Result<Operation, Refusal> {
    let text = serde_json::to_string(message)
        .map_err(|_| Refusal::invalid("MALFORMED", "the message cannot be written"))?;
    operation(&text)
}

pub(super) fn of_request(request: &ClientRequest) -> Result<Operation, Refusal> {
    let operation = written(request)?;
    let is_untyped = matches!(request, ClientRequest::CustomRequest(_));
    match operation.kind() {
        // `rmcp` could not read the request as one of its method, so it must not reach the server.
        Kind::Tool | Kind::Prompt | Kind::Resource | Kind::List | Kind::Lifecycle if is_untyped => {
            Err(Refusal::invalid(
                "MALFORMED",
                "the params do not fit the method",
            ))
        }
        _ if !operation.is_for_server() => Err(Refusal::unmapped(&operation)),
        _ => Ok(operation),
    }
}

/// Reads a notification. Only those of the protocol, and those of unknown methods that are mapped,
/// reach a server: a call without an id is no notification.
pub(super) fn of_notification(notification: &ClientNotification) -> Result<Operation, Refusal> {
    let operation = written(notification)?;
    match operation.kind() {
        Kind::Lifecycle if operation.method().starts_with("notifications/") => Ok(operation),
        Kind::Unknown => Ok(operation),
        _ => Err(Refusal::invalid(
            "MALFORMED",
            "a request cannot be sent as a notification",
        )),
    }
}

/// Reads the tools of an `rmcp` server.
pub(super) fn tool_names(tools: &[rmcp::model::Tool]) -> Result<Vec<Tool>, ToolError> {
    let tools = tools.iter().map(|tool| {
        let json = serde_json::to_value(tool).unwrap_or_default();
        Tool::from_json(&json)
    });
    tools.collect()
}

/// Sends a wait as notifications of progress, if the client asked for them.
pub(super) struct ProgressNotifications {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
}

impl ProgressNotifications {
    pub(super) fn of_request(context: &RequestContext<RoleServer>) -> Self {
        Self {
            peer: context.peer.clone(),
            token: context.meta.get_progress_token(),
        }
    }
}

impl Progress for ProgressNotifications {
    async fn waiting(&self, report: &WaitingFor) {
        let Some(token) = &self.token else {
            return;
        };
        let progress = ProgressNotificationParam::new(token.clone(), report.waited.as_secs_f64())
            .with_total(report.at_most.as_secs_f64())
            .with_message(report.message());
        // A client that is gone cannot be told, and its request ends by itself.
        let _ = self.peer.notify_progress(progress).await;
    }
}
