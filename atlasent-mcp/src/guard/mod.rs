//! A guard between any client and any server, in any language (feature `guard`).
//!
//! The guard reads each message strictly, obtains a permit for it, and forwards the text that was
//! decided on, byte for byte. The server stays as it is.
//!
//! ```text
//!  stdio ──► stdio::serve ─┐                           ┌─► child process
//!                          ├─► Session ─► Guard ─► Gate│
//!  HTTP  ──► http::Endpoint┘                           └─► http::HttpUpstream
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`describe`] | asks a server for its tools |
//! | [`limits`] | how much clients and server may use at a time |
//! | [`message`] | the strict envelope of a message |
//! | [`pins`] | the definitions of tools, recorded at first sight |
//! | [`paths`] | path arguments that stay below a folder |
//! | [`secret`] | where the server's credentials are read from |
//! | [`http`] | streamable HTTP, in front of the guard and behind it |
//! | [`stdio`] | standard input and output |

mod child;
mod credentials;
pub mod describe;
mod environment;
pub mod http;
pub mod limits;
mod lines;
mod link;
pub mod message;
pub mod paths;
pub mod pins;
pub mod secret;
mod session;
mod shown;
pub mod stdio;
mod tools;

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use serde_json::value::RawValue;

pub use child::ServerCommand;

use crate::credential::HostSecret;
use crate::gate::{Clearance, Gate, Progress, Silent};
use crate::operation::{Kind, Operation};
use crate::{Caller, Refusal};
use child::ChildServer;
use credentials::{Credentials, GuardedSecret};
use http::HttpUpstream;
use limits::{LimitError, Limits};
use link::{ClientLink, ServerLink};
use message::Message;
use paths::PathRules;
use pins::Pins;
use session::{Ended, Session};
use tools::{KnownTools, ListedTools};

/// The most pages of a list of the server.
const MAX_PAGES: usize = 64;

/// The most bytes of all pages of a list of the server. A page may be as large as a message.
const MAX_LIST_BYTES: usize = message::MAX_MESSAGE_BYTES;

/// What decides on the messages between clients and one server.
pub struct Guard {
    gate: Gate,
    pins: Pins,
    tools: KnownTools,
    paths: Option<PathRules>,
    secret: Option<Arc<HostSecret>>,
    announces_lists: bool,
    limits: Limits,
}

impl Guard {
    /// Creates a guard. The gate's mapping names the server, whose tools are compared with the
    /// pins.
    #[must_use]
    pub fn new(gate: Gate, pins: Pins) -> Self {
        Self {
            gate,
            pins,
            tools: KnownTools::default(),
            paths: None,
            secret: None,
            announces_lists: false,
            limits: Limits::default(),
        }
    }

    /// Tells clients that their lists may have changed when [`Gate::lists_changed`] is called. The
    /// guard then declares `listChanged` for each list that the server has.
    #[must_use]
    pub fn announcing_lists(mut self) -> Self {
        self.announces_lists = true;
        self
    }

    /// Sets how much the clients and the server may use at a time.
    ///
    /// # Errors
    ///
    /// [`LimitError`] for a limit that is zero or too large.
    pub fn with_limits(mut self, limits: Limits) -> Result<Self, LimitError> {
        limits.check()?;
        self.limits = limits;
        Ok(self)
    }

    /// Confines path arguments of tools.
    #[must_use]
    pub fn with_paths(mut self, paths: PathRules) -> Self {
        self.paths = Some(paths);
        self
    }

    /// Sets the credentials of a server that is reached over HTTP.
    ///
    /// Each message carries them under its own permit. A request that needs no permit, such as
    /// `initialize` or the stream of a session, carries them under a permit for the action
    /// `mcp.<server>:connect`, which is renewed when it expires. The secret needs no
    /// [`for_action`](HostSecret::for_action), because a message never uses the permit of another.
    #[must_use]
    pub fn with_secret(mut self, secret: HostSecret) -> Self {
        self.secret = Some(Arc::new(secret));
        self
    }

    /// Returns the gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns the credentials of the server for a session.
    fn credentials(&self) -> Credentials {
        let secret = self.secret.as_ref().map(|secret| GuardedSecret {
            gate: self.gate.clone(),
            secret: Arc::clone(secret),
        });
        Credentials::new(secret)
    }

    /// Obtains the clearance of a request of the client.
    pub(crate) async fn authorize(
        &self,
        message: &Message,
        caller: &Caller,
        listed: &ListedTools,
        progress: &impl Progress,
    ) -> Result<Clearance, Refusal> {
        let operation = operation(message)?;
        if !operation.is_for_server() {
            return Err(Refusal::unmapped(&operation));
        }
        self.check_tool(&operation, listed)?;
        self.gate.authorize(&operation, caller, progress).await
    }

    /// Returns the scope that a request of the client needs and that the token of its caller lacks.
    pub(crate) fn missing_scope(&self, message: &Message, caller: &Caller) -> Option<String> {
        // The message of a caller without a token is not parsed for a scope.
        caller.claims()?;
        let operation = operation(message).ok()?;
        match operation.is_for_server() {
            true => self.gate.missing_scope(&operation, caller),
            false => None,
        }
    }

    /// Obtains the clearance of a request of the server to the client.
    pub(crate) async fn authorize_for_server(
        &self,
        message: &Message,
        caller: &Caller,
    ) -> Result<Clearance, Refusal> {
        let operation = operation(message)?;
        if !operation.is_for_client() {
            return Err(Refusal::unmapped(&operation));
        }
        self.gate.authorize(&operation, caller, &Silent).await
    }

    /// Refuses the call of a tool whose definition, in this session, is not the recorded one, and a
    /// call with a path that is not allowed. This is checked before the authority is asked, and
    /// again before the call is forwarded, since people may take minutes to decide.
    pub(crate) fn check_tool(
        &self,
        operation: &Operation,
        listed: &ListedTools,
    ) -> Result<(), Refusal> {
        if operation.kind() != Kind::Tool {
            return Ok(());
        }
        let tool = operation.target().unwrap_or_default();
        self.check_listed(tool, listed)?;
        match &self.paths {
            Some(paths) => paths.check(operation),
            None => Ok(()),
        }
    }
}

/// Reads what a request or a notification asks for.
pub(crate) fn operation(message: &Message) -> Result<Operation, Refusal> {
    let (message::Kind::Request { method, .. } | message::Kind::Notification { method }) =
        message.kind()
    else {
        return Err(Refusal::invalid(
            "MALFORMED",
            "the message asks for nothing",
        ));
    };
    let params = message
        .body()
        .map(serde_json::from_str::<&RawValue>)
        .transpose();
    let params = params.map_err(|_| Refusal::invalid("MALFORMED", "`params` is not JSON"))?;
    Ok(Operation::parse(method, params)?)
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("gate", &self.gate)
            .field("pins", &self.pins)
            .field("paths", &self.paths)
            .field("secret", &self.secret)
            .field("announces_lists", &self.announces_lists)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How the server is reached. Each session has a connection, or a process, of its own.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// A child process.
    Command(Arc<ServerCommand>),
    /// A streamable HTTP endpoint.
    Http(Arc<HttpUpstream>),
}

impl Upstream {
    /// Connects a session: starts the process, or prepares the connection. A connection over HTTP
    /// sends the credentials.
    pub(crate) fn connect(&self, credentials: Arc<Credentials>) -> io::Result<Connected> {
        Ok(match self {
            Self::Command(command) => {
                let (link, child) = command.start()?;
                let child = Some(child);
                Connected { link, child }
            }
            Self::Http(upstream) => Connected {
                link: upstream.connect(credentials),
                child: None,
            },
        })
    }

    /// Whether messages without a session can be sent.
    pub(crate) fn is_http(&self) -> bool {
        matches!(self, Self::Http(_))
    }
}

/// A server that is connected for one session.
pub(crate) struct Connected {
    link: ServerLink,
    child: Option<ChildServer>,
}

impl Connected {
    /// Serves the session, and ends the server with it. Returns how its process ended, if it ended
    /// by itself.
    pub(crate) async fn serve(
        self,
        session: Session,
        client: ClientLink,
    ) -> Option<io::Result<ExitStatus>> {
        let ended = session.run(client, self.link).await;
        let status = self.child?.stop().await;
        (ended == Ended::ByServer).then_some(status)
    }
}
