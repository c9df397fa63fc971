//! One session with a server over streamable HTTP: its requests, their responses, and its streams,
//! which are resumed (`streams.rs`).

mod streams;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atlasent::Permit;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::HttpUpstream;
use crate::Refusal;
use crate::gate::AuthorizedOperation;
use crate::guard::credentials::Credentials;
use crate::guard::http::headers::{self, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};
use crate::guard::http::sse::Decoder;
use crate::guard::link::{CHANNEL, FromServer, ServerLink, ToServer};
use crate::guard::message::{Kind, MAX_MESSAGE_BYTES, Malformed, Message, Outline, RequestId};

/// How long a server has to take a notification, and to end a session.
const SHORT: Duration = Duration::from_secs(30);
/// The notification after which a server may send what belongs to no request.
const INITIALIZED: &str = "notifications/initialized";

/// The permit of a message, if it needs one of its own.
type MessagePermit = Option<Box<Permit<AuthorizedOperation>>>;

/// One session with the server.
pub(super) struct Connection {
    upstream: Arc<HttpUpstream>,
    credentials: Arc<Credentials>,
    incoming: mpsc::Sender<FromServer>,
    /// The headers of the session: its id and its version of the protocol.
    session: Mutex<HeaderMap>,
}

/// Why a request has no response.
enum Broken {
    /// The request failed, and others may succeed.
    Request(String),
    /// The session is over.
    Session,
}

/// The requests to the server that run. They end with the connection.
#[derive(Default)]
struct Requests {
    running: JoinSet<()>,
    by_id: HashMap<RequestId, AbortHandle>,
}

impl Requests {
    /// Starts a request. `id` is that of its message, if it has one.
    fn spawn(&mut self, id: Option<RequestId>, request: impl Future<Output = ()> + Send + 'static) {
        let task = self.running.spawn(request);
        self.by_id.extend(id.map(|id| (id, task)));
    }

    /// Ends a request whose response is not wanted any more. A server that never answers would
    /// hold its connection.
    fn cancel(&mut self, id: &RequestId) {
        if let Some(task) = self.by_id.remove(id) {
            task.abort();
        }
    }

    fn forget_ended(&mut self) {
        while self.running.try_join_next().is_some() {}
        self.by_id.retain(|_, task| !task.is_finished());
    }
}

impl Connection {
    /// Opens the link of a session.
    pub(super) fn open(upstream: Arc<HttpUpstream>, credentials: Arc<Credentials>) -> ServerLink {
        let (sender, outgoing) = mpsc::channel(CHANNEL);
        let (incoming, receiver) = mpsc::channel(CHANNEL);
        let connection = Arc::new(Self {
            upstream,
            credentials,
            incoming,
            session: Mutex::default(),
        });
        tokio::spawn(connection.run(outgoing));
        ServerLink { sender, receiver }
    }

    async fn run(self: Arc<Self>, mut outgoing: mpsc::Receiver<ToServer>) {
        let mut requests = Requests::default();
        // A session has one stream for what belongs to no request, however often a client says that
        // it is initialized.
        let mut is_initialized = false;
        while let Some(next) = outgoing.recv().await {
            requests.forget_ended();
            if let Err(not_sent) = next.begin() {
                if let Some(report) = not_sent.report(&next.message) {
                    let _ = self.incoming.send(report).await;
                }
                continue;
            }
            let ToServer {
                message, permit, ..
            } = next;
            let this = Arc::clone(&self);
            match message.kind().clone() {
                // The session is over: nobody waits for the response.
                Kind::Request { .. } if outgoing.is_closed() => {}
                Kind::Request { id, method } => {
                    let is_first = &*method == "initialize";
                    requests.spawn(Some(id.clone()), async move {
                        this.request(message, id, permit, is_first).await;
                    });
                }
                Kind::Notification { method } if &*method == INITIALIZED => {
                    if is_initialized {
                        tracing::debug!("dropped a repeated `{INITIALIZED}`");
                        continue;
                    }
                    is_initialized = self.notify(&message).await;
                    if is_initialized {
                        requests.spawn(None, async move { this.listen().await });
                    }
                }
                Kind::Notification { method } => {
                    // Sent in order: what follows may depend on it.
                    self.notify(&message).await;
                    if let ("notifications/cancelled", Some(id)) = (&*method, message.cancelled()) {
                        requests.cancel(&id);
                    }
                }
                Kind::Result { .. } | Kind::Error { .. } => {
                    self.notify(&message).await;
                }
            }
        }
        requests.running.shutdown().await;
        self.end().await;
    }

    /// Sends a message that has no response. Returns whether the server took it.
    async fn notify(&self, message: &Message) -> bool {
        let sending = async {
            let request = match self.post(message, None).await {
                Ok(request) => request,
                Err(refusal) => {
                    let reason = refusal.reason();
                    tracing::warn!(reason, "a message for the server was not sent");
                    return false;
                }
            };
            match self.upstream.client.execute(request).await {
                Ok(response) if response.status().is_success() => true,
                Ok(response) => {
                    tracing::warn!(
                        status = response.status().as_u16(),
                        "the server refused a notification"
                    );
                    false
                }
                Err(error) => {
                    tracing::warn!(error = %error.without_url(), "a notification was not sent");
                    false
                }
            }
        };
        timeout(SHORT, sending).await.unwrap_or_else(|_| {
            tracing::warn!("a message for the server was not sent in time");
            false
        })
    }

    /// Sends a request, and passes on each message that comes back.
    async fn request(
        &self,
        message: Message,
        id: RequestId,
        permit: MessagePermit,
        is_first: bool,
    ) {
        let failed = match self.answered(&message, &id, permit, is_first).await {
            Ok(()) => return,
            Err(Broken::Request(reason)) => FromServer::Failed { id, reason },
            Err(Broken::Session) => FromServer::Closed {
                reason: "the server ended the session".to_owned(),
            },
        };
        let _ = self.incoming.send(failed).await;
    }

    async fn answered(
        &self,
        message: &Message,
        id: &RequestId,
        permit: MessagePermit,
        is_first: bool,
    ) -> Result<(), Broken> {
        let request = self.post(message, permit).await.map_err(not_sent)?;
        let response = self
            .upstream
            .client
            .execute(request)
            .await
            .map_err(unreachable)?;
        let status = response.status();
        if is_first && let Some(session) = response.headers().get(SESSION_ID) {
            self.set_header(SESSION_ID, session.clone());
        }
        if !status.is_success() {
            return self.refused(response, id).await;
        }
        if is_event_stream(&response) {
            return self.stream(response, id, is_first).await;
        }
        let bytes = whole(response).await?;
        let message = Message::from_bytes(&bytes).map_err(|error| invalid_response(&error))?;
        let is_answer = message.kind().id() == Some(id);
        self.pass_on(message, id, is_first).await;
        match is_answer {
            true => Ok(()),
            false => Err(Broken::Request(
                "the server answered another request".to_owned(),
            )),
        }
    }

    /// Passes on the JSON-RPC error of a response without success, if it holds one.
    async fn refused(&self, response: Response, id: &RequestId) -> Result<(), Broken> {
        let status = response.status();
        let has_session = self.header(SESSION_ID).is_some();
        if status == StatusCode::NOT_FOUND && has_session {
            return Err(Broken::Session);
        }
        let message = whole(response).await.ok();
        let message = message.and_then(|bytes| Message::from_bytes(&bytes).ok());
        match message {
            Some(message) if matches!(message.kind(), Kind::Error { id: Some(of) } if of == id) => {
                self.pass_on(message, id, false).await;
                Ok(())
            }
            _ => Err(Broken::Request(format!(
                "the server answered with HTTP {status}"
            ))),
        }
    }

    /// Passes on events until the stream ends. Returns whether the response of the request came.
    async fn events(
        &self,
        response: &mut Response,
        decoder: &mut Decoder,
        during: Option<&RequestId>,
        is_first: bool,
    ) -> Result<bool, Broken> {
        // A broken connection ends a stream like any other end: it may be resumed.
        while let Ok(Some(bytes)) = response.chunk().await {
            let events = decoder.push(&bytes);
            for event in events.map_err(|error| Broken::Request(error.to_string()))? {
                let message = match Message::from_bytes(&event.data) {
                    Ok(message) => message,
                    // The server may keep the stream open, and no other response comes.
                    Err(malformed)
                        if during.is_some() && Outline::of(&event.data).answered() == during =>
                    {
                        return Err(invalid_response(&malformed));
                    }
                    Err(malformed) => {
                        let _ = self.incoming.send(FromServer::Malformed(malformed)).await;
                        continue;
                    }
                };
                let is_response =
                    matches!(message.kind(), Kind::Result { .. } | Kind::Error { .. });
                let is_last = is_response && during.is_some() && message.kind().id() == during;
                match during {
                    Some(id) => self.pass_on(message, id, is_first).await,
                    None => {
                        let during = None;
                        let _ = self
                            .incoming
                            .send(FromServer::Message { message, during })
                            .await;
                    }
                }
                if is_last {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn pass_on(&self, message: Message, id: &RequestId, is_first: bool) {
        if is_first && message.kind().id() == Some(id) {
            self.negotiated(&message);
        }
        let during = Some(id.clone());
        let _ = self
            .incoming
            .send(FromServer::Message { message, during })
            .await;
    }

    /// Keeps the version of the protocol that the server chose, for the header of later requests.
    fn negotiated(&self, message: &Message) {
        #[derive(serde::Deserialize)]
        struct Initialized<'a> {
            #[serde(rename = "protocolVersion")]
            version: &'a str,
        }
        let result = message
            .body()
            .and_then(|body| serde_json::from_str::<Initialized<'_>>(body).ok());
        let version = result.and_then(|result| HeaderValue::from_str(result.version).ok());
        if let Some(version) = version {
            self.set_header(PROTOCOL_VERSION, version);
        }
    }

    /// Tells the server that the session is over.
    async fn end(&self) {
        if self.header(SESSION_ID).is_none() {
            return;
        }
        let ending = async {
            if let Ok(request) = self.build(Method::DELETE, None).await {
                let _ = self.upstream.client.execute(request).await;
            }
        };
        let _ = timeout(SHORT, ending).await;
    }

    async fn post(&self, message: &Message, permit: MessagePermit) -> Result<Request, Refusal> {
        let mut request = self.build(Method::POST, permit).await?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        headers::describe(message, headers);
        *request.body_mut() = Some(message.text().to_owned().into());
        Ok(request)
    }

    async fn get(&self, last_event_id: Option<&str>) -> Result<Request, Refusal> {
        let mut request = self.build(Method::GET, None).await?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        Ok(request)
    }

    /// Builds a request with the headers of the session and the credentials.
    async fn build(&self, method: Method, permit: MessagePermit) -> Result<Request, Refusal> {
        let mut request = Request::new(method, self.upstream.url.clone());
        let session = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        request.headers_mut().extend(session);
        self.credentials
            .put(&mut request, permit.as_deref())
            .await?;
        Ok(request)
    }

    fn header(&self, name: HeaderName) -> Option<HeaderValue> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.get(name).cloned()
    }

    fn set_header(&self, name: HeaderName, value: HeaderValue) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.insert(name, value);
    }
}

fn not_sent(refusal: Refusal) -> Broken {
    Broken::Request(format!("the request was not sent: {}", refusal.reason()))
}

fn invalid_response(malformed: &Malformed) -> Broken {
    Broken::Request(format!(
        "the response of the server is invalid: {malformed}"
    ))
}

fn unreachable(error: reqwest::Error) -> Broken {
    Broken::Request(format!(
        "the server cannot be reached: {}",
        error.without_url()
    ))
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}

/// Reads a body of bounded length.
async fn whole(mut response: Response) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if body.len() + bytes.len() <= MAX_MESSAGE_BYTES => {
                body.extend_from_slice(&bytes);
            }
            Ok(Some(_)) => {
                return Err(Broken::Request(format!(
                    "the response of the server has more than {MAX_MESSAGE_BYTES} bytes"
                )));
            }
            Ok(None) => return Ok(body),
            Err(error) => return Err(unreachable(error)),
        }
    }
}
