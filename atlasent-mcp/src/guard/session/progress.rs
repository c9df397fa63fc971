//! Tells a client that its request waits for a person.

use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::gate::{Progress, WaitingFor};
use crate::guard::link::{Part, ToClient};
use crate::guard::message::RequestId;

/// Sends notifications of progress to the client that asked for them.
pub(super) struct Reporter {
    id: RequestId,
    /// The token that the client chose, as JSON.
    token: Option<Box<RawValue>>,
    client: mpsc::Sender<ToClient>,
}

impl Reporter {
    pub(super) fn new(id: &RequestId, token: Option<&str>, client: mpsc::Sender<ToClient>) -> Self {
        Self {
            id: id.clone(),
            token: token.and_then(|token| RawValue::from_string(token.to_owned()).ok()),
            client,
        }
    }
}

impl Progress for Reporter {
    async fn waiting(&self, report: &WaitingFor) {
        let Some(token) = &self.token else {
            return;
        };
        // The values increase, as the protocol asks. The server's own progress starts after the
        // wait, below what was reported, which clients show and do not check.
        let notification = json!({
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {
                "progressToken": token,
                "progress": report.waited.as_secs_f64(),
                "total": report.at_most.as_secs_f64(),
                "message": report.message(),
            },
        });
        // A report that the session has no room for is left out.
        let _ = self.client.try_send(ToClient {
            text: notification.to_string().into(),
            about: Some(self.id.clone()),
            part: Part::Message,
        });
    }
}
