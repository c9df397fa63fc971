//! One session with a server over streamable HTTP: its requests, their responses as streams that
//! are resumed, and the stream of the session.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::HttpUpstream;
use crate::credential::SecretHeader;
use crate::guard::http::headers::{self, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};
use crate::guard::http::sse::Decoder;
use crate::guard::link::{CHANNEL, FromServer, ServerLink, ToServer};
use crate::guard::message::{Kind, MAX_MESSAGE_BYTES, Message, RequestId};

/// How long a server has to take a notification, and to end a session.
const SHORT: Duration = Duration::from_secs(30);
/// How often a stream that breaks before its response is resumed.
const MAX_RESUMES: u32 = 5;
/// How long to wait before a stream is resumed, unless the server says otherwise.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait before a stream is resumed.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// One session with the server.
pub(super) struct Connection {
    upstream: Arc<HttpUpstream>,
    incoming: mpsc::Sender<FromServer>,
    /// The headers of the session: its id and its version of the protocol.
    session: Mutex<HeaderMap>,
    /// The credentials of the last message, with which the stream of the session is opened.
    secret: Mutex<Option<SecretHeader>>,
}

/// Why a request has no response.
enum Broken {
    /// The request failed, and others may succeed.
    Request(String),
    /// The session is over.
    Session,
}

impl Connection {
    /// Opens the link of a session.
    pub(super) fn open(upstream: Arc<HttpUpstream>) -> ServerLink {
        let (sender, outgoing) = mpsc::channel(CHANNEL);
        let (incoming, receiver) = mpsc::channel(CHANNEL);
        let connection = Arc::new(Self {
            upstream,
            incoming,
            session: Mutex::default(),
            secret: Mutex::default(),
        });
        tokio::spawn(connection.run(outgoing));
        ServerLink { sender, receiver }
    }

    async fn run(self: Arc<Self>, mut outgoing: mpsc::Receiver<ToServer>) {
        let mut requests = JoinSet::new();
        while let Some(ToServer { message, secret }) = outgoing.recv().await {
            while requests.try_join_next().is_some() {}
            if secret.is_some() {
                let mut latest = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
                latest.clone_from(&secret);
            }
            let this = Arc::clone(&self);
            match message.kind().clone() {
                Kind::Request { id, method } => {
                    let is_first = &*method == "initialize";
                    requests.spawn(async move {
                        this.request(message, id, secret, is_first).await;
                    });
                }
                Kind::Notification { method } => {
                    // Sent in order: what follows may depend on it.
                    self.notify(&message, secret.as_ref()).await;
                    if &*method == "notifications/initialized" {
                        requests.spawn(async move { this.listen().await });
                    }
                }
                Kind::Result { .. } | Kind::Error { .. } => {
                    self.notify(&message, secret.as_ref()).await;
                }
            }
        }
        requests.shutdown().await;
        self.end().await;
    }

    /// Sends a message that has no response.
    async fn notify(&self, message: &Message, secret: Option<&SecretHeader>) {
        let sent = match self.post(message, secret) {
            Ok(request) => timeout(SHORT, self.upstream.client.execute(request)).await,
            Err(reason) => {
                tracing::warn!(reason, "a message for the server was not sent");
                return;
            }
        };
        match sent {
            Ok(Ok(response)) if response.status().is_success() => {}
            Ok(Ok(response)) => {
                tracing::warn!(
                    status = response.status().as_u16(),
                    "the server refused a notification"
                );
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error.without_url(), "a notification was not sent");
            }
            Err(_) => tracing::warn!("the server did not take a notification in time"),
        }
    }

    /// Sends a request, and passes on each message that comes back.
    async fn request(
        &self,
        message: Message,
        id: RequestId,
        secret: Option<SecretHeader>,
        is_first: bool,
    ) {
        let answered = self
            .answered(&message, &id, secret.as_ref(), is_first)
            .await;
        let failed = match answered {
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
        secret: Option<&SecretHeader>,
        is_first: bool,
    ) -> Result<(), Broken> {
        let request = self.post(message, secret).map_err(Broken::Request)?;
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
        let message = Message::from_bytes(&bytes).map_err(|malformed| {
            Broken::Request(format!(
                "the response of the server is invalid: {malformed}"
            ))
        })?;
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

    /// Passes on the messages of a stream until the response of the request, and resumes a stream
    /// that breaks before.
    async fn stream(
        &self,
        mut response: Response,
        id: &RequestId,
        is_first: bool,
    ) -> Result<(), Broken> {
        let mut decoder = Decoder::default();
        let mut resumes = 0;
        loop {
            if self
                .events(&mut response, &mut decoder, Some(id), is_first)
                .await?
            {
                return Ok(());
            }
            if decoder.last_id.is_none() || resumes == MAX_RESUMES {
                return Err(Broken::Request(
                    "the server ended its stream without a response".to_owned(),
                ));
            }
            resumes += 1;
            sleep(retry_after(&decoder)).await;
            decoder.reconnected();
            let request = self
                .get(decoder.last_id.as_deref())
                .map_err(Broken::Request)?;
            response = self
                .upstream
                .client
                .execute(request)
                .await
                .map_err(unreachable)?;
            if !response.status().is_success() || !is_event_stream(&response) {
                return Err(Broken::Request(
                    "the server does not resume its stream".to_owned(),
                ));
            }
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

    /// Passes on what the server sends outside of requests, until it offers no stream.
    async fn listen(&self) {
        let mut decoder = Decoder::default();
        loop {
            let Ok(request) = self.get(decoder.last_id.as_deref()) else {
                return;
            };
            let response = self.upstream.client.execute(request).await;
            match response {
                Ok(mut response)
                    if response.status().is_success() && is_event_stream(&response) =>
                {
                    if self
                        .events(&mut response, &mut decoder, None, false)
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                // The server has no such stream, or no such session any more.
                Ok(_) => return,
                Err(_) => {}
            }
            decoder.reconnected();
            sleep(retry_after(&decoder)).await;
        }
    }

    /// Tells the server that the session is over.
    async fn end(&self) {
        if self.header(SESSION_ID).is_none() {
            return;
        }
        if let Ok(request) = self.build(Method::DELETE, self.latest_secret().as_ref()) {
            let _ = timeout(SHORT, self.upstream.client.execute(request)).await;
        }
    }

    fn post(&self, message: &Message, secret: Option<&SecretHeader>) -> Result<Request, String> {
        let mut request = self.build(Method::POST, secret)?;
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

    fn get(&self, last_event_id: Option<&str>) -> Result<Request, String> {
        let mut request = self.build(Method::GET, self.latest_secret().as_ref())?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        Ok(request)
    }

    /// Builds a request with the headers of the session and the credentials.
    fn build(&self, method: Method, secret: Option<&SecretHeader>) -> Result<Request, String> {
        let mut request = Request::new(method, self.upstream.url.clone());
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        request.headers_mut().extend(session.clone());
        drop(session);
        if let Some(secret) = secret {
            secret
                .put(&mut request)
                .map_err(|error| error.to_string())?;
        }
        Ok(request)
    }

    fn latest_secret(&self) -> Option<SecretHeader> {
        self.secret
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

fn retry_after(decoder: &Decoder) -> Duration {
    decoder
        .retry
        .map_or(RETRY, Duration::from_millis)
        .min(MAX_RETRY)
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
