//! The tools of the server, which the guard lists before the first call of a session.
//!
//! A call is decided on with the definition of its tool: its arguments have to fit the schema, and
//! the definition has to be the pinned one. A client may call without having listed, or may keep an
//! old list, so the guard lists for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Session;
use super::tasks::{Answer, Done};
use crate::Caller;
use crate::guard::message::{Kind, Message, RequestId, check_unique};
use crate::guard::tools::ListedTools;
use crate::guard::{MAX_LIST_BYTES, MAX_PAGES};

/// How long the server has to answer one page of the list.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tools of a session's server.
pub(super) struct ToolList {
    state: State,
    /// What the server lists.
    listed: ListedTools,
    /// The prefix of the ids of the guard's own requests. It is random, so that no request of a
    /// client has such an id, also if the client is another guard.
    own_ids: String,
    /// The number of requests that the guard sent.
    sent: u64,
}

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    Loading(Loading),
    Known,
}

/// A list that is being asked for.
struct Loading {
    /// The request that is open.
    own: RequestId,
    pages: usize,
    /// The bytes of all pages.
    bytes: usize,
    tools: BTreeMap<String, Value>,
    /// The `_meta` of the requests, as the client sends it where there is no handshake.
    meta: Option<Value>,
    /// The requests that wait for the list.
    waiting: Vec<Waiting>,
    /// Whether the server changed its tools in the meantime.
    is_outdated: bool,
}

/// A request that waits for the list.
pub(super) enum Waiting {
    /// The authority is asked about it next.
    Unasked(RequestId, Message, Caller),
    /// A call that is permitted. The server changed its tools while people decided.
    Permitted(RequestId, Box<Answer>),
}

/// A page of the list.
#[derive(Deserialize)]
struct Page {
    tools: Vec<Value>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

impl ToolList {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            listed: ListedTools::default(),
            own_ids: format!("atlasent-guard-{}:", Uuid::new_v4().simple()),
            sent: 0,
        }
    }

    /// Whether an id is that of a request of the guard.
    pub(super) fn is_own(&self, id: &RequestId) -> bool {
        matches!(id, RequestId::Text(text) if text.starts_with(&self.own_ids))
    }

    /// Returns the tools that the server lists. Later lists change them.
    pub(super) fn listed(&self) -> &ListedTools {
        &self.listed
    }

    /// Whether the definitions are those that the server has, as far as it told.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.state, State::Known)
    }

    /// Forgets the tools, because the server changed them.
    pub(super) fn forget(&mut self) {
        match &mut self.state {
            State::Loading(loading) => loading.is_outdated = true,
            state => *state = State::Unknown,
        }
    }

    /// Forgets a request that waits for the list.
    pub(super) fn cancel(&mut self, id: &RequestId) {
        if let State::Loading(loading) = &mut self.state {
            loading.waiting.retain(|waiting| waiting.id() != id);
        }
    }

    fn own_id(&mut self) -> RequestId {
        self.sent += 1;
        RequestId::Text(format!("{}{}", self.own_ids, self.sent).into())
    }
}

impl Session {
    /// Goes on with a request once the tools are known.
    pub(super) fn when_listed(&mut self, waiting: Waiting) {
        match &mut self.tools.state {
            // Somebody may have accepted a change in the meantime.
            State::Known if !self.guard.has_changed_tools(&self.tools.listed) => {
                self.proceed(waiting);
            }
            State::Loading(loading) => loading.waiting.push(waiting),
            State::Known | State::Unknown => {
                let meta = meta_of(waiting.message());
                let own = self.tools.own_id();
                self.tools.state = State::Loading(Loading {
                    own: own.clone(),
                    pages: 0,
                    bytes: 0,
                    tools: BTreeMap::new(),
                    meta: meta.clone(),
                    waiting: vec![waiting],
                    is_outdated: false,
                });
                self.send_own(own, None, meta);
            }
        }
    }

    fn proceed(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Unasked(id, message, caller) => self.ask(id, message, caller),
            Waiting::Permitted(id, answer) => self.on_asked(&id, *answer),
        }
    }

    /// Reads a page of the list.
    pub(super) fn on_own_response(&mut self, id: &RequestId, message: &Message) {
        let State::Loading(loading) = &mut self.tools.state else {
            return;
        };
        if loading.own != *id {
            return;
        }
        loading.bytes += message.body().map_or(0, str::len);
        if loading.bytes > MAX_LIST_BYTES {
            return self.refuse_waiting("the list of the server's tools is too large");
        }
        let page = match (message.kind(), message.body()) {
            (Kind::Result { .. }, Some(body)) => read_page(body),
            _ => Err("the server does not list its tools"),
        };
        let page = match page {
            Ok(page) => page,
            Err(reason) => return self.refuse_waiting(reason),
        };
        for tool in page.tools {
            let Some(name) = tool.get("name").and_then(Value::as_str) else {
                return self.refuse_waiting("the server lists a tool without a name");
            };
            if loading.tools.contains_key(name) {
                return self.refuse_waiting("the server lists two tools of one name");
            }
            loading.tools.insert(name.to_owned(), tool);
        }
        loading.pages += 1;
        match page.next_cursor {
            Some(_) if loading.pages >= MAX_PAGES => {
                self.refuse_waiting("the list of the server's tools does not end");
            }
            Some(cursor) => self.next_page(Some(cursor)),
            None if std::mem::take(&mut loading.is_outdated) => {
                loading.tools.clear();
                loading.bytes = 0;
                self.next_page(None);
            }
            None => self.on_listed(),
        }
    }

    /// Gives up on a list that the server does not answer.
    pub(super) fn on_overdue(&mut self, own: &RequestId) {
        if matches!(&self.tools.state, State::Loading(loading) if loading.own == *own) {
            self.refuse_waiting("the server did not list its tools in time");
        }
    }

    /// Gives up on a list that could not be asked for. Returns whether the request was the guard's.
    pub(super) fn on_own_failed(&mut self, id: &RequestId, reason: &str) -> bool {
        let is_own = self.tools.is_own(id);
        if matches!(&self.tools.state, State::Loading(loading) if loading.own == *id) {
            self.refuse_waiting(reason);
        }
        is_own
    }

    fn next_page(&mut self, cursor: Option<String>) {
        let own = self.tools.own_id();
        let State::Loading(loading) = &mut self.tools.state else {
            return;
        };
        loading.own = own.clone();
        let meta = loading.meta.clone();
        self.send_own(own, cursor, meta);
    }

    fn send_own(&mut self, own: RequestId, cursor: Option<String>, meta: Option<Value>) {
        let mut params = serde_json::Map::new();
        params.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.into())));
        params.extend(meta.map(|meta| ("_meta".to_owned(), meta)));
        let request =
            json!({"jsonrpc": "2.0", "id": own, "method": "tools/list", "params": params});
        let Ok(message) = Message::parse(&request.to_string()) else {
            return self.refuse_waiting("the list of tools cannot be asked for");
        };
        self.forward(message);
        self.tasks.spawn(None, async move {
            tokio::time::sleep(PATIENCE).await;
            Done::Overdue { own }
        });
    }

    /// Goes on with the requests that waited, now that the tools are known.
    fn on_listed(&mut self) {
        let State::Loading(loading) = std::mem::take(&mut self.tools.state) else {
            return;
        };
        if let Err(error) = self.guard.learn(&self.tools.listed, loading.tools) {
            tracing::error!(%error, "the tools of the server cannot be used");
            for waiting in loading.waiting {
                self.fail(
                    waiting.id(),
                    "the guard cannot use the tools of the server: its log says why",
                );
            }
            return;
        }
        self.tools.state = State::Known;
        for waiting in loading.waiting {
            self.proceed(waiting);
        }
    }

    /// Refuses the requests that waited. The next call asks for the list again.
    fn refuse_waiting(&mut self, reason: &str) {
        let State::Loading(loading) = std::mem::take(&mut self.tools.state) else {
            return;
        };
        tracing::warn!(reason, "the tools of the server are not known");
        for waiting in loading.waiting {
            match waiting {
                // The server tells the client itself why it does not list. If it lists now, the
                // client gets the list only if the guard knows the tools (`Guard::shown`).
                Waiting::Unasked(id, message, caller) if is_list(&message) => {
                    self.ask(id, message, caller);
                }
                Waiting::Unasked(id, ..) | Waiting::Permitted(id, _) => self.fail(&id, reason),
            }
        }
    }
}

impl Waiting {
    fn id(&self) -> &RequestId {
        match self {
            Self::Unasked(id, ..) | Self::Permitted(id, _) => id,
        }
    }

    fn message(&self) -> &Message {
        match self {
            Self::Unasked(_, message, _) => message,
            Self::Permitted(_, answer) => &answer.message,
        }
    }
}

fn is_list(message: &Message) -> bool {
    matches!(message.kind(), Kind::Request { method, .. } if &**method == "tools/list")
}

/// Returns the `_meta` of a message, without its progress token.
fn meta_of(message: &Message) -> Option<Value> {
    let params: Value = serde_json::from_str(message.body()?).ok()?;
    let mut meta = params.get("_meta")?.clone();
    meta.as_object_mut()?.remove("progressToken");
    Some(meta)
}

fn read_page(body: &str) -> Result<Page, &'static str> {
    check_unique(body).map_err(|_| "the list of the server's tools is ambiguous")?;
    serde_json::from_str(body).map_err(|_| "the list of the server's tools is invalid")
}
