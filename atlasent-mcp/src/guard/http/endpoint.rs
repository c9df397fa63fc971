//! The streamable HTTP endpoint in front of the guard.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::{ACCEPT, ALLOW, HeaderMap, HeaderValue, ORIGIN};
use http::{StatusCode, request::Parts};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::authentication::Authentication;
use super::cors;
use super::headers::{self, FIRST_WITHOUT_SESSIONS, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};
use super::outbox::{Reader, parse_event_id};
use super::rejection::Rejection;
use super::reply::{event_stream, respond};
use super::request::{has_loopback_host, media_type, only};
use super::scopes::{MissingScope, scope_of_head};
use super::sessions::{HttpSession, NoStream, NotOpened, Sessions};
use super::slots::{NoSlot, Slots};
use crate::Caller;
use crate::guard::limits::SlotLimits;
use crate::guard::link::FromClient;
use crate::guard::message::{
    Kind, MAX_MESSAGE_BYTES, Malformed, Message, RequestId, error_response,
};
use crate::guard::{Guard, Upstream};

/// The path of the endpoint.
const PATH: &str = "/mcp";
/// How long a client has to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a session has to take a message.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of the messages of clients: of all agents, and of one agent. A message counts
/// from when the head of its request arrives until the server has the message.
const MESSAGES: SlotLimits = SlotLimits {
    all: 512 * 1024 * 1024,
    of_agent: 64 * 1024 * 1024,
};
/// The bytes that a message counts for at least.
const SMALLEST: usize = 4 * 1024;
/// How long requests without a session may still run after the stop.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// The JSON-RPC codes of the protocol for headers that differ from the message, and for a version
/// that is not supported.
const HEADER_MISMATCH: i64 = -32_020;
const UNSUPPORTED_VERSION: i64 = -32_022;
/// The versions of the protocol. The last one has no sessions.
const VERSIONS: [&str; 5] = [
    "2024-11-05",
    "2025-03-26",
    "2025-06-18",
    "2025-11-25",
    FIRST_WITHOUT_SESSIONS,
];

/// A streamable HTTP endpoint, whose clients reach a server through a guard.
#[derive(Debug)]
pub struct Endpoint {
    guard: Arc<Guard>,
    upstream: Upstream,
    settings: EndpointSettings,
}

/// The settings of an endpoint.
#[derive(Debug)]
pub struct EndpointSettings {
    /// How the callers are known.
    pub authentication: Authentication,
    /// The origins of web pages that may call, such as `https://app.example`. A request with
    /// another `Origin` is refused, so that a text which is no [origin](super::is_origin) allows
    /// nothing.
    pub origins: Vec<String>,
}

/// Resolves when an endpoint has to stop, after its sessions have ended.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Shared {
    guard: Arc<Guard>,
    sessions: Arc<Sessions>,
    /// Counts the bytes of the messages that the guard holds.
    messages: Arc<Slots>,
    settings: EndpointSettings,
    /// Whether requests of the versions without sessions can be forwarded.
    forwards_single_requests: bool,
}

impl Endpoint {
    /// Creates an endpoint.
    #[must_use]
    pub fn new(guard: Arc<Guard>, upstream: Upstream, settings: EndpointSettings) -> Self {
        Self {
            guard,
            upstream,
            settings,
        }
    }

    /// Serves on `/mcp` until `stop` resolves, and then ends all sessions. The number of
    /// connections is not limited. An endpoint that other machines reach needs a proxy that limits
    /// them, or [`serve_with`](Self::serve_with).
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        self.serve_with(stop, |router, stop| async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop)
                .await
        })
        .await
    }

    /// Serves on `/mcp` as [`serve`](Self::serve) does, with a listener of the program. The
    /// function `serve` gets the router and a future. When the future resolves, it has to drain the
    /// requests.
    ///
    /// # Errors
    ///
    /// The error of `serve`.
    pub async fn serve_with<F>(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        serve: impl FnOnce(Router, Stop) -> F,
    ) -> std::io::Result<()>
    where
        F: Future<Output = std::io::Result<()>>,
    {
        let sessions = Sessions::new(Arc::clone(&self.guard), self.upstream.clone());
        let sessions = Arc::new(sessions);
        let shared = Arc::new(Shared {
            guard: self.guard,
            sessions: Arc::clone(&sessions),
            messages: Slots::new(MESSAGES),
            settings: self.settings,
            forwards_single_requests: self.upstream.is_http(),
        });
        let messages: MethodRouter<Arc<Shared>> =
            post(on_post).get(on_get).delete(on_delete).head(on_head);
        // No path holds parameters: a URL writes the braces of one with `%`.
        let mut router = Router::new().without_v07_checks().route(PATH, messages);
        for path in shared.settings.authentication.metadata_paths(PATH) {
            router = router.route(&path, get(on_metadata));
        }
        // Without a page that may call, browsers get no answer that they would let a page read.
        if !shared.settings.origins.is_empty() {
            router = router.layer(cors::layer(&shared.settings.origins));
        }
        let router = router.with_state(shared);
        let sweeping = Arc::clone(&sessions);
        let (stopping, stopped) = oneshot::channel::<()>();
        let stop: Stop = Box::pin(async move {
            stop.await;
            // Streams end with their sessions.
            sessions.end_all().await;
            let _ = stopping.send(());
        });
        let overdue = async {
            match stopped.await {
                Ok(()) => sleep(SHUTDOWN).await,
                // The server ended first.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serve(router, stop) => served,
            () = overdue => Ok(()),
            () = sweeping.end_idle_ones() => Ok(()),
        }
    }
}

async fn on_post(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let posted = shared.post(request).await;
    posted.unwrap_or_else(|rejection| shared.rejected(rejection))
}

async fn on_get(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    shared
        .get(&parts)
        .unwrap_or_else(|rejection| shared.rejected(rejection))
}

/// Refuses HEAD. Without a handler of its own it would be a GET, and take the session's stream over
/// from the client that reads it.
async fn on_head() -> impl IntoResponse {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        [(ALLOW, "GET, POST, DELETE")],
    )
}

async fn on_delete(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let deleted = shared.admit(&parts).and_then(|caller| {
        let session = shared.session(&parts, &caller, None)?;
        drop(shared.sessions.end(&session));
        Ok(StatusCode::NO_CONTENT.into_response())
    });
    deleted.unwrap_or_else(|rejection| shared.rejected(rejection))
}

async fn on_metadata(State(shared): State<Arc<Shared>>) -> Response {
    let mapping = shared.guard.gate().mapping();
    match shared.settings.authentication.metadata(mapping) {
        Some(metadata) => Json(metadata).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Shared {
    async fn post(&self, request: Request) -> Result<Response, Rejection> {
        let (parts, body) = request.into_parts();
        let caller = self.admit(&parts)?;
        let is_json = media_type(&parts.headers)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
        if !is_json {
            let why = "the body is not `application/json`";
            return Err(Rejection::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let message = self.read(body, &caller).await?;
        headers::check(&message, &parts.headers).map_err(|why| {
            let text = error_response(message.kind().id(), HEADER_MISMATCH, why, None);
            Rejection::Rpc(StatusCode::BAD_REQUEST, text)
        })?;
        let authentication = &self.settings.authentication;
        if let Some(missing) = MissingScope::find(&self.guard, authentication, &message, &caller) {
            return Err(Rejection::MissingScope(missing));
        }
        let session = self.session_for(&parts, &message, &caller)?;
        let room = timeout(TAKEN_TIMEOUT, session.reserve()).await;
        let room = room.map_err(|_| {
            let why = "the session takes no more messages: its server does not read them";
            Rejection::Status(StatusCode::SERVICE_UNAVAILABLE, why)
        })?;
        let room = room.map_err(|()| Rejection::no_such_session())?;
        let kind = message.kind().clone();
        let from = FromClient::Message { message, caller };
        let Kind::Request { id, method } = kind else {
            room.send(from);
            return Ok(StatusCode::ACCEPTED.into_response());
        };
        // There is no await point between opening the stream and sending the request. So a client
        // that breaks off cannot leave a stream without a request.
        let outbox = session.open_stream(&id).map_err(|none| match none {
            NoStream::IdInUse => Rejection::Malformed(Malformed::id_in_use(&id)),
            NoStream::Over => Rejection::no_such_session(),
        })?;
        room.send(from);
        let mut response = respond(Reader::new(outbox, None), &session).await;
        // The head of a stream is sent before it is known whether the server refuses the session.
        if &*method == "initialize" && !session.is_refused() {
            let value = HeaderValue::from_str(&session.id);
            response
                .headers_mut()
                .extend(value.map(|value| (SESSION_ID, value)));
        }
        Ok(response)
    }

    /// Reads the message of a request. Its bytes count against the limit until the guard drops it.
    async fn read(&self, body: Body, caller: &Caller) -> Result<Message, Rejection> {
        let most = body.size_hint().upper();
        let most = most.map_or(Ok(MAX_MESSAGE_BYTES), usize::try_from);
        let most = most.unwrap_or(usize::MAX);
        if most > MAX_MESSAGE_BYTES {
            return Err(Rejection::too_large());
        }
        let taken = self.messages.take(caller.agent(), most.max(SMALLEST));
        let mut taken = taken.map_err(|none| {
            let (status, why) = match none {
                NoSlot::OfAgent => (
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many bytes of this agent's messages are waiting: send again later",
                ),
                NoSlot::All => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many bytes of messages are waiting: send again later",
                ),
            };
            Rejection::Status(status, why)
        })?;
        let message = read(body).await?;
        taken.shrink(message.text().len().max(SMALLEST));
        Ok(message.holding(taken))
    }

    fn get(&self, parts: &Parts) -> Result<Response, Rejection> {
        let caller = self.admit(parts)?;
        let accept = parts
            .headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok());
        if !accept
            .is_some_and(|accept| accept.contains("text/event-stream") || accept.contains("*/*"))
        {
            return Err(Rejection::Status(
                StatusCode::NOT_ACCEPTABLE,
                "accept `text/event-stream`",
            ));
        }
        let session = self.session(parts, &caller, None)?;
        let reader = match parts.headers.get(LAST_EVENT_ID) {
            None => Reader::new(session.common(), None),
            Some(last) => {
                let last = last.to_str().ok().and_then(parse_event_id);
                let stream = last.and_then(|(number, at)| Some((session.stream(number)?, at)));
                let (stream, at) = stream.ok_or(Rejection::Status(
                    StatusCode::BAD_REQUEST,
                    "`Last-Event-ID` names no event of a stream that is kept",
                ))?;
                let next = at.saturating_add(1);
                if stream.is_over_at(next) {
                    // The protocol's code for "no stream". A client takes a stream without an event
                    // for a broken one, and would come back for a cancelled request for ever.
                    let allowed = [(ALLOW, "POST, DELETE")];
                    return Ok((StatusCode::METHOD_NOT_ALLOWED, allowed).into_response());
                }
                Reader::new(stream, Some(next))
            }
        };
        Ok(event_stream(reader, Arc::clone(&session)))
    }

    /// Checks where a request comes from and who sent it.
    fn admit(&self, parts: &Parts) -> Result<Caller, Rejection> {
        let is_known = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            self.settings.origins.iter().any(|known| known == origin)
        };
        // A web page that the user visits must not call the guard (DNS rebinding).
        if !parts.headers.get_all(ORIGIN).iter().all(is_known) {
            return Err(Rejection::Status(
                StatusCode::FORBIDDEN,
                "the `Origin` is not allowed",
            ));
        }
        let is_open = matches!(self.settings.authentication, Authentication::Configured(_));
        if is_open && !has_loopback_host(parts) {
            return Err(Rejection::Status(
                StatusCode::FORBIDDEN,
                "the `Host` is not this machine",
            ));
        }
        let caller = self.settings.authentication.caller(&parts.headers);
        caller.map_err(|why| {
            let scope = scope_of_head(self.guard.gate().mapping(), &parts.headers);
            Rejection::Unauthenticated(why, scope)
        })
    }

    /// Returns the session that a request names. `id` is that of its message, if it has one.
    fn session(
        &self,
        parts: &Parts,
        caller: &Caller,
        id: Option<&RequestId>,
    ) -> Result<Arc<HttpSession>, Rejection> {
        let named = only(&parts.headers, &SESSION_ID);
        let named = named.ok_or(Rejection::Status(
            StatusCode::BAD_REQUEST,
            "`Mcp-Session-Id` is missing",
        ))?;
        let session = self
            .sessions
            .get(named, caller)
            .ok_or_else(Rejection::no_such_session)?;
        self.check_version(&parts.headers, session.version(), id)?;
        Ok(session)
    }

    /// Refuses a version of the protocol that is not known, unless client and server negotiated it.
    fn check_version(
        &self,
        headers: &HeaderMap,
        negotiated: Option<&str>,
        id: Option<&RequestId>,
    ) -> Result<(), Rejection> {
        let version = only(headers, &PROTOCOL_VERSION);
        let is_known = |version| negotiated == Some(version) || VERSIONS.contains(&version);
        match !headers.contains_key(PROTOCOL_VERSION) || version.is_some_and(is_known) {
            true => Ok(()),
            false => Err(self.unsupported(version, "`MCP-Protocol-Version` is not supported", id)),
        }
    }

    fn unsupported(&self, version: Option<&str>, why: &str, id: Option<&RequestId>) -> Rejection {
        let supported = VERSIONS
            .iter()
            .filter(|version| self.forwards_single_requests || **version < FIRST_WITHOUT_SESSIONS);
        let supported: Vec<_> = supported.collect();
        let data = json!({"supported": supported, "requested": version});
        let text = error_response(id, UNSUPPORTED_VERSION, why, Some(&data));
        Rejection::Rpc(StatusCode::BAD_REQUEST, text)
    }

    /// Returns the session that a message belongs to, which is a new one for `initialize` and for
    /// messages of the versions without sessions.
    fn session_for(
        &self,
        parts: &Parts,
        message: &Message,
        caller: &Caller,
    ) -> Result<Arc<HttpSession>, Rejection> {
        let is_first =
            matches!(message.kind(), Kind::Request { method, .. } if &**method == "initialize");
        if parts.headers.contains_key(SESSION_ID) {
            return match is_first {
                true => Err(Rejection::Status(
                    StatusCode::BAD_REQUEST,
                    "the session is initialized",
                )),
                false => self.session(parts, caller, message.kind().id()),
            };
        }
        self.check_version(&parts.headers, None, message.kind().id())?;
        let version = only(&parts.headers, &PROTOCOL_VERSION);
        let needs_no_session = version.is_some_and(|version| version >= FIRST_WITHOUT_SESSIONS);
        if !is_first && needs_no_session && !self.forwards_single_requests {
            // Clients then fall back to a version with sessions.
            let why = "the server behind this guard is reached with sessions only";
            return Err(self.unsupported(version, why, message.kind().id()));
        }
        if !is_first && !needs_no_session {
            return Err(Rejection::Status(
                StatusCode::BAD_REQUEST,
                "`Mcp-Session-Id` is missing",
            ));
        }
        self.sessions.open(caller, is_first).map_err(|error| {
            tracing::error!(%error, "a session was not opened");
            let (status, why) = match error {
                NotOpened::NoSlot(NoSlot::OfAgent) => (
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many sessions of this agent are open: end one with `DELETE`",
                ),
                NotOpened::NoSlot(NoSlot::All) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many sessions are open",
                ),
                NotOpened::Server(_) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the server cannot be started",
                ),
            };
            Rejection::Status(status, why)
        })
    }

    fn rejected(&self, rejection: Rejection) -> Response {
        rejection.response(&self.settings.authentication)
    }
}

async fn read(body: Body) -> Result<Message, Rejection> {
    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, MAX_MESSAGE_BYTES)).await;
    let bytes = bytes
        .map_err(|_| Rejection::Status(StatusCode::REQUEST_TIMEOUT, "the body did not arrive"))?;
    let bytes = bytes.map_err(|_| Rejection::too_large())?;
    Message::from_bytes(&bytes).map_err(Rejection::Malformed)
}
