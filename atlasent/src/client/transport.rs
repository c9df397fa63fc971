//! Sends a call: its headers, its attempts, and the bytes of its answer.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    USER_AGENT,
};
use reqwest::{Body, Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Serializer;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::credential::Credential;
use super::endpoint::Endpoint;
use super::failure::{self, ErrorMessage};
use super::headers;
use super::http::Http;
use super::message::{ApiRequest, ApiResponse, ResponseMetadata, scrub_failure};
use super::retry::{CallLimits, FailedAttempt, Repetition, RetrySchedule};
use super::schema::{self, RequiredSchema};
use super::secrets::Secrets;
use super::time::Clock;
use crate::Error;
use crate::canonical::PythonFloats;
use crate::error::{Code, Failure};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-atlasent-protocol-version");

/// The maximum size of an answer in bytes. Lists, exports and backups have limits of their own.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

/// The maximum size of an answer with a list in bytes: 32 MiB. The largest list of `atlasent serve`
/// has 1,000 stops, in about 26 MB: a reason has up to 4,096 bytes, of which JSON writes control
/// characters as six bytes each, and the other members of a stop have up to 2 KB.
pub(super) const LIST_LIMIT: usize = 32 * 1024 * 1024;

/// The time limit for the body of an error.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings and connections that all calls of a client share.
pub(super) struct Transport {
    pub(super) endpoint: Endpoint,
    pub(super) credential: Credential,
    /// The headers that all requests have in common, from [`headers`].
    pub(super) headers: HeaderMap,
    pub(super) http: Http,
    pub(super) limits: CallLimits,
    pub(super) time: Clock,
    pub(super) required_schema: Option<RequiredSchema>,
}

impl Transport {
    pub(super) fn get(&self, path: &str) -> ApiRequest {
        self.request(Method::GET, path, None)
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<ApiRequest, Error> {
        self.with_body(Method::POST, path, body)
    }

    pub(super) fn delete(&self, path: &str, body: &impl Serialize) -> Result<ApiRequest, Error> {
        self.with_body(Method::DELETE, path, body)
    }

    fn with_body(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<ApiRequest, Error> {
        let mut json = Vec::new();
        body.serialize(&mut Serializer::with_formatter(&mut json, PythonFloats))
            .map_err(|error| Error::invalid(format!("the request does not serialize: {error}")))?;
        Ok(self.request(method, path, Some(json)))
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> ApiRequest {
        ApiRequest {
            method,
            url: self.endpoint.url(path),
            body,
            accept: "application/json",
            decides: false,
            permit: None,
            is_searched: true,
            answer_limit: BODY_LIMIT,
            repetition: Repetition::default(),
        }
    }

    /// Sends a request, and reads the answer as JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        call: &ApiRequest,
    ) -> Result<(T, ResponseMetadata), Error> {
        let mut answer = self.fetch_response(call).await?;
        let read = answer.read()?;
        Ok((read, answer.metadata))
    }

    /// Sends a request, and returns the answer, for callers that check it further after reading it.
    pub(super) async fn fetch_response(&self, call: &ApiRequest) -> Result<ApiResponse, Error> {
        let mut attempts = self.attempts(call)?;
        loop {
            let attempt = async {
                let (response, metadata) = attempts.open(call).await?;
                let reading = read_body(response, call.answer_limit);
                let body = attempts.with_timeout(reading).await?;
                Ok((body, metadata))
            }
            .await;
            if let Some(result) = attempts.finish(attempt).await {
                let (body, metadata) = result?;
                return Ok(ApiResponse {
                    body,
                    metadata,
                    secrets: attempts.secrets,
                });
            }
        }
    }

    /// Sends a request, and returns the answer with its body unread, and the secrets of the call.
    pub(super) async fn open(
        &self,
        call: &ApiRequest,
    ) -> Result<(Response, ResponseMetadata, Secrets), Error> {
        let mut attempts = self.attempts(call)?;
        loop {
            let attempt = attempts.open(call).await;
            if let Some(result) = attempts.finish(attempt).await {
                let (response, metadata) = result?;
                return Ok((response, metadata, attempts.secrets));
            }
        }
    }

    fn attempts(&self, call: &ApiRequest) -> Result<Attempts<'_>, Error> {
        let schedule = RetrySchedule::start(&self.limits, call.repetition, self.time.now());
        Ok(Attempts {
            transport: self,
            http: self.http.client()?,
            attempt_ends: Instant::now() + schedule.time_left(self.time.now()),
            schedule,
            request_id: Uuid::new_v4().simple().to_string(),
            secrets: call.secrets(&self.credential),
        })
    }

    /// Returns the schema that the answer to a call has to be by.
    fn required_schema(&self, call: &ApiRequest) -> Option<&RequiredSchema> {
        self.required_schema.as_ref().filter(|_| call.decides)
    }

    /// Makes the HTTP request of a call.
    fn http_request(&self, call: &ApiRequest, request_id: &str) -> Result<Request, Failure> {
        let mut request = Request::new(call.method.clone(), call.url.clone());
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(call.accept));
        let request_id = HeaderValue::try_from(request_id)
            .map_err(|_| Failure::new(Code::BadRequest, "a header cannot be sent"))?;
        headers.insert(REQUEST_ID, request_id);
        if let Some(schema) = self.required_schema(call) {
            headers.insert(schema::HEADER, schema.header()?);
        }
        *request.headers_mut() = headers;
        *request.body_mut() = call.body.clone().map(Body::from);
        Ok(request)
    }
}

/// Returns the headers that all requests of a client have in common (contract, part A, "Every
/// request").
pub(super) fn headers(
    credential: &Credential,
    user_agent: HeaderValue,
) -> Result<HeaderMap, Error> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", credential.expose()))
        .map_err(|_| Error::config("the credential cannot be sent in a header"))?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (AUTHORIZATION, bearer),
        (USER_AGENT, user_agent),
        (PROTOCOL_VERSION, HeaderValue::from_static("1")),
    ]);
    // Each request adds three of its own, in a copy that is as large.
    headers.reserve(3);
    Ok(headers)
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("endpoint", &self.endpoint)
            .field("credential", &self.credential)
            .field("http", &self.http)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The attempts of one call.
struct Attempts<'a> {
    transport: &'a Transport,
    http: reqwest::Client,
    schedule: RetrySchedule,
    /// The time limit of the current attempt.
    attempt_ends: Instant,
    request_id: String,
    /// The secrets that were sent, and those received with the attempts so far.
    secrets: Secrets,
}

impl Attempts<'_> {
    /// Sends the request once. Any status other than a success is an error.
    async fn open(
        &mut self,
        call: &ApiRequest,
    ) -> Result<(Response, ResponseMetadata), FailedAttempt> {
        let request = self
            .transport
            .http_request(call, &self.request_id)
            .map_err(FailedAttempt::permanent)?;
        let sent = self.http.execute(request);
        let sent = async { sent.await.map_err(failure::from_transport) };
        let response = self.with_timeout(sent).await?;
        let metadata = ResponseMetadata {
            request_id: self.request_id.clone(),
            rate_limit: headers::rate_limit(response.headers()),
            retry_after: headers::retry_after(response.headers(), SystemTime::now()),
            retried: self.schedule.is_retry(),
        };
        let status = response.status();
        tracing::debug!(
            target: "atlasent",
            path = %self.secrets.scrub(call.url.path()),
            request_id = self.request_id,
            status = status.as_u16(),
            "answered"
        );
        if status.is_success() {
            if let Some(schema) = self.transport.required_schema(call) {
                let checked = schema.check(response.headers());
                checked.map_err(FailedAttempt::permanent)?;
            }
            return Ok((response, metadata));
        }
        let (message, server_code) = self.error_body(response).await;
        let mut attempt = failure::from_status(status, message);
        attempt.failure.server_code = server_code;
        attempt.failure.retry_after = metadata.retry_after;
        attempt.failure.rate_limit = metadata.rate_limit.map(Box::new);
        Err(attempt)
    }

    /// Reads the message and the code in the body of an error. The status decides the outcome of
    /// the call: if the body does not arrive, or cannot be read, only these two are missing.
    async fn error_body(&mut self, response: Response) -> (ErrorMessage, Option<String>) {
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        let ends = self.attempt_ends.min(Instant::now() + ERROR_BODY_TIMEOUT);
        let read = timeout_at(ends, read_body(response, BODY_LIMIT)).await;
        let body = read.ok().and_then(Result::ok).unwrap_or_default();
        let message = failure::error_message(&body, content_type, &mut self.secrets);
        (message, failure::server_code(&body, &self.secrets))
    }

    /// Runs `work`, and fails with a timeout at the time limit of the current attempt.
    async fn with_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, FailedAttempt>>,
    ) -> Result<T, FailedAttempt> {
        timeout_at(self.attempt_ends, work)
            .await
            .unwrap_or_else(|_| {
                let limit = self.schedule.timeout();
                let text = format!(
                    "no answer in time: an attempt may take {limit:?}, or less before the deadline"
                );
                Err(FailedAttempt::retryable(Failure::new(Code::Timeout, text)))
            })
    }

    /// Returns the result of the call. `None` if another attempt is to be made, after waiting for
    /// it.
    async fn finish<T>(&mut self, attempt: Result<T, FailedAttempt>) -> Option<Result<T, Error>> {
        let attempt = match attempt {
            Ok(answer) => return Some(Ok(answer)),
            Err(attempt) => attempt,
        };
        let time = &self.transport.time;
        let wait = self
            .schedule
            .next_wait(&attempt, time.now(), |most| time.jitter(most));
        let failure = scrub_failure(*attempt.failure, &self.request_id, &self.secrets);
        let Some(wait) = wait else {
            return Some(Err(failure.into()));
        };
        tracing::warn!(
            target: "atlasent",
            request_id = self.request_id,
            error = %failure,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "retrying"
        );
        time.sleep(wait).await;
        self.attempt_ends = Instant::now() + self.schedule.time_left(time.now());
        None
    }
}

/// Reads the whole body of an answer. A body larger than `limit` bytes is an error.
async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, FailedAttempt> {
    // The client requests no content encoding. A custom HTTP client that decodes bodies removes the
    // header.
    let mut encodings = response.headers().get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| encoding.as_bytes() != b"identity") {
        return Err(FailedAttempt::permanent(Failure::new(
            Code::Network,
            "the answer has a content encoding that was not requested",
        )));
    }
    let too_long = || {
        FailedAttempt::permanent(Failure::new(
            Code::BadResponse,
            format!("the answer has more than {limit} bytes"),
        ))
    };
    let expected = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity(expected.min(BODY_LIMIT));
    while let Some(chunk) = response.chunk().await.map_err(failure::from_transport)? {
        if chunk.len() > limit - body.len() {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
