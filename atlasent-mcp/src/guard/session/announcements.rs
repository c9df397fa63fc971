//! Notifications that lists may have changed, because the policies did.
//!
//! The server knows nothing of policies, so the guard declares the capability in its place, and
//! sends the notifications itself.

use serde_json::value::RawValue;
use tokio::sync::watch;

use super::Session;
use super::lists::Members;
use crate::guard::Guard;
use crate::guard::link::{Part, ToClient};
use crate::guard::message::{Kind, Message, RequestId, check_unique, result_response};

/// The capability that declares a notification, and its method.
const LISTS: [(&str, &str); 3] = [
    ("tools", "notifications/tools/list_changed"),
    ("prompts", "notifications/prompts/list_changed"),
    ("resources", "notifications/resources/list_changed"),
];

/// What a session tells its client about changed lists.
pub(super) struct Announcements {
    changes: Option<watch::Receiver<()>>,
    /// The notifications of the lists that the server has, once it is known.
    methods: Vec<&'static str>,
}

impl Announcements {
    pub(super) fn new(guard: &Guard) -> Self {
        Self {
            changes: guard.announces_lists.then(|| guard.gate.watch_lists()),
            methods: Vec::new(),
        }
    }

    /// Whether the client knows that it is told.
    pub(super) fn is_declared(&self) -> bool {
        self.changes.is_some() && !self.methods.is_empty()
    }

    /// Waits until lists may have changed. Dropping the future loses nothing.
    pub(super) async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes
            && changes.changed().await.is_ok()
        {
            return;
        }
        // The gate is gone, or nothing is announced.
        std::future::pending::<()>().await;
    }

    /// Returns the response to `initialize` with `listChanged` for each list that the server has.
    /// All other members stay as the server wrote them. Returns `None` where nothing is declared.
    pub(super) fn declare(&mut self, id: &RequestId, response: &Message) -> Option<String> {
        self.changes.as_ref()?;
        let Kind::Result { .. } = response.kind() else {
            return None;
        };
        let body = response.body()?;
        check_unique(body).ok()?;
        let result = Members::parse(body)?;
        self.methods.clear();
        let mut capabilities = result.get("capabilities")?.get().to_owned();
        for (capability, method) in LISTS {
            let declared = Members::parse(&capabilities)?;
            let options = declared
                .get(capability)
                .and_then(|options| Members::parse(options.get()));
            let Some(options) = options else {
                continue;
            };
            capabilities = declared.with(capability, &options.with("listChanged", "true"));
            self.methods.push(method);
        }
        let result = RawValue::from_string(result.with("capabilities", &capabilities)).ok()?;
        self.is_declared().then(|| result_response(id, &result))
    }
}

impl Session {
    /// Tells the client that each list of the server may have changed.
    pub(super) fn on_lists_changed(&mut self) {
        for method in &self.announcements.methods {
            self.to_client.push_back(ToClient {
                text: format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#).into(),
                about: None,
                part: Part::Message,
            });
        }
    }
}
