//! The streamable HTTP endpoint in front of the guard.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::stream;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    WWW_AUTHENTICATE,
};
use http::{StatusCode, request::Parts};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::authentication::{Authentication, Unauthenticated};
use super::headers::{self, FIRST_WITHOUT_SESSIONS, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};
use super::outbox::{Next, Reader, parse_event_id};
use super::sessions::{HttpSession, NotOpened, Sessions};
use super::slots::NoSlot;
use crate::Caller;
use crate::guard::link::FromClient;
use crate::guard::message::{Kind, MAX_MESSAGE_BYTES, Malformed, Message, error_response};
use crate::guard::{Guard, Upstream};

/// The path of the endpoint.
const PATH: &str = "/mcp";
/// How long a client has to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a response may take before it becomes a stream.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a stream without messages shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long requests without a session may still run after the stop.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// The JSON-RPC codes of the protocol for headers that differ from the message, and for a version
/// that is not supported.
const HEADER_MISMATCH: i64 = -32_020;
const UNSUPPORTED_VERSION: i64 = -32_022;
/// The versions of the protocol with sessions.
const WITH_SESSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

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
    /// another `Origin` is refused.
    pub origins: Vec<String>,
}

struct Shared {
    sessions: Arc<Sessions>,
    settings: EndpointSettings,
    /// Whether requests of the versions without sessions can be forwarded.
    forwards_single_requests: bool,
}

/// Why a request gets an HTTP error.
enum Rejection {
    Status(StatusCode, &'static str),
    Unauthenticated(Unauthenticated),
    Malformed(Malformed),
    Rpc(StatusCode, String),
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

    /// Serves on `/mcp` until `stop` resolves, and then ends all sessions.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let sessions = Arc::new(Sessions::new(self.guard, self.upstream.clone()));
        let shared = Arc::new(Shared {
            sessions: Arc::clone(&sessions),
            settings: self.settings,
            forwards_single_requests: self.upstream.is_http(),
        });
        let messages: MethodRouter<Arc<Shared>> = post(on_post).get(on_get).delete(on_delete);
        // No path holds parameters: a URL writes the braces of one with `%`.
        let mut router = Router::new().without_v07_checks().route(PATH, messages);
        for path in shared.settings.authentication.metadata_paths(PATH) {
            router = router.route(&path, get(on_metadata));
        }
        let router = router.with_state(shared);
        let sweeping = Arc::clone(&sessions);
        let (stopping, stopped) = oneshot::channel::<()>();
        let served = axum::serve(listener, router).with_graceful_shutdown(async move {
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
            served = served.into_future() => served,
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

async fn on_delete(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let deleted = shared.admit(&parts).and_then(|caller| {
        let session = shared.session(&parts, &caller)?;
        drop(shared.sessions.end(&session));
        Ok(StatusCode::NO_CONTENT.into_response())
    });
    deleted.unwrap_or_else(|rejection| shared.rejected(rejection))
}

async fn on_metadata(State(shared): State<Arc<Shared>>) -> Response {
    match shared.settings.authentication.metadata() {
        Some(metadata) => Json(metadata).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Shared {
    async fn post(&self, request: Request) -> Result<Response, Rejection> {
        let (parts, body) = request.into_parts();
        let caller = self.admit(&parts)?;
        if media_type(&parts.headers) != Some("application/json") {
            let why = "the body is not `application/json`";
            return Err(Rejection::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let message = read(body).await?;
        headers::check(&message, &parts.headers).map_err(|why| {
            let text = error_response(message.kind().id(), HEADER_MISMATCH, why, None);
            Rejection::Rpc(StatusCode::BAD_REQUEST, text)
        })?;
        let session = self.session_for(&parts, &message, &caller)?;
        let Kind::Request { id, method } = message.kind().clone() else {
            let from = FromClient::Message { message, caller };
            session.send(from).await.map_err(|()| gone())?;
            return Ok(StatusCode::ACCEPTED.into_response());
        };
        let outbox = session.open_stream(&id);
        let outbox = outbox.ok_or_else(|| Rejection::Malformed(Malformed::id_in_use(&id)))?;
        let from = FromClient::Message { message, caller };
        if session.send(from).await.is_err() {
            session.close_stream(&id);
            return Err(gone());
        }
        let mut response = respond(Reader::new(outbox, None), &session).await;
        if &*method == "initialize" {
            let value = HeaderValue::from_str(&session.id);
            response
                .headers_mut()
                .extend(value.map(|value| (SESSION_ID, value)));
        }
        Ok(response)
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
        let session = self.session(parts, &caller)?;
        let reader = match parts.headers.get(LAST_EVENT_ID) {
            None => Reader::new(session.common(), None),
            Some(last) => {
                let last = last.to_str().ok().and_then(parse_event_id);
                let stream = last.and_then(|(number, at)| Some((session.stream(number)?, at)));
                let (stream, at) = stream.ok_or(Rejection::Status(
                    StatusCode::BAD_REQUEST,
                    "`Last-Event-ID` names no event of a stream that is kept",
                ))?;
                Reader::new(stream, Some(at.saturating_add(1)))
            }
        };
        Ok(event_stream(reader, None, Arc::clone(&session)))
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
        if let Some(version) = parts.headers.get(PROTOCOL_VERSION)
            && !is_version(version)
        {
            let why = "`MCP-Protocol-Version` is not a version";
            return Err(Rejection::Status(StatusCode::BAD_REQUEST, why));
        }
        let caller = self.settings.authentication.caller(&parts.headers);
        caller.map_err(Rejection::Unauthenticated)
    }

    /// Returns the session that a request names.
    fn session(&self, parts: &Parts, caller: &Caller) -> Result<Arc<HttpSession>, Rejection> {
        let id = only(&parts.headers, &SESSION_ID);
        let id = id.ok_or(Rejection::Status(
            StatusCode::BAD_REQUEST,
            "`Mcp-Session-Id` is missing",
        ))?;
        self.sessions.get(id, caller).ok_or_else(gone)
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
                false => self.session(parts, caller),
            };
        }
        let version = only(&parts.headers, &PROTOCOL_VERSION);
        let needs_no_session = version.is_some_and(|version| version >= FIRST_WITHOUT_SESSIONS);
        if !is_first && needs_no_session && !self.forwards_single_requests {
            // Clients then fall back to a version with sessions.
            let data = json!({"supported": WITH_SESSIONS, "requested": version});
            let why = "the server behind this guard is reached with sessions only";
            let text = error_response(message.kind().id(), UNSUPPORTED_VERSION, why, Some(&data));
            return Err(Rejection::Rpc(StatusCode::BAD_REQUEST, text));
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
        let json = |status: StatusCode, text: String| {
            (status, [(CONTENT_TYPE, "application/json")], text).into_response()
        };
        match rejection {
            Rejection::Status(status, why) => json(
                status,
                error_response(None, Malformed::INVALID_REQUEST, why, None),
            ),
            Rejection::Malformed(malformed) => json(StatusCode::BAD_REQUEST, malformed.response()),
            Rejection::Rpc(status, text) => json(status, text),
            Rejection::Unauthenticated(why) => {
                let mut response = StatusCode::UNAUTHORIZED.into_response();
                if let Some(challenge) = self.settings.authentication.challenge(why) {
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                response
            }
        }
    }
}

/// The rejection for a session that is over, was never there, or belongs to another agent.
fn gone() -> Rejection {
    Rejection::Status(StatusCode::NOT_FOUND, "there is no such session")
}

async fn read(body: Body) -> Result<Message, Rejection> {
    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, MAX_MESSAGE_BYTES)).await;
    let bytes = bytes
        .map_err(|_| Rejection::Status(StatusCode::REQUEST_TIMEOUT, "the body did not arrive"))?;
    let bytes = bytes.map_err(|_| {
        Rejection::Status(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large, or was cut",
        )
    })?;
    Message::from_bytes(&bytes).map_err(Rejection::Malformed)
}

/// Answers a request: as JSON if its response comes soon and alone, and else as a stream.
async fn respond(mut reader: Reader, session: &Arc<HttpSession>) -> Response {
    let first = timeout(PATIENCE, reader.next()).await.ok();
    match first {
        Some(Next::Event {
            text,
            is_last: true,
            ..
        }) => ([(CONTENT_TYPE, "application/json")], text.to_string()).into_response(),
        first => event_stream(reader, first, Arc::clone(session)),
    }
}

/// Streams events to a client. The session lives as long as the stream is read.
fn event_stream(reader: Reader, first: Option<Next>, session: Arc<HttpSession>) -> Response {
    struct Streaming {
        reader: Reader,
        first: Option<Next>,
        is_over: bool,
        _session: Arc<HttpSession>,
    }
    let state = Streaming {
        reader,
        first,
        is_over: false,
        _session: session,
    };
    let events = stream::unfold(state, async |mut state| {
        if state.is_over {
            return None;
        }
        let next = match state.first.take() {
            Some(next) => Ok(next),
            None => timeout(KEEP_ALIVE, state.reader.next()).await,
        };
        let text = match next {
            Ok(Next::Event {
                position,
                text,
                is_last,
            }) => {
                state.is_over = is_last;
                state.reader.event(position, &text)
            }
            Ok(Next::End) => return None,
            Err(_) => ": alive\n\n".to_owned(),
        };
        Some((Ok::<_, std::convert::Infallible>(text), state))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Returns a header that stands once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = only(headers, &CONTENT_TYPE)?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

/// Whether a text is the date of a version of the protocol.
fn is_version(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Whether the host that a request names is this machine.
fn has_loopback_host(parts: &Parts) -> bool {
    let host = match parts.uri.host() {
        Some(host) => Some(host),
        None => only(&parts.headers, &HOST).map(without_port),
    };
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
