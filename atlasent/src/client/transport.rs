//! One call over the wire: its headers, its attempts, and the bytes that come back.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    USER_AGENT,
};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Serializer;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::endpoint::Endpoint;
use super::failure::{self, Said};
use super::headers;
use super::http::Http;
use super::key::ApiKey;
use super::retry::{Attempt, Limits, Schedule};
use super::secrets::Secrets;
use super::time::Time;
use crate::Error;
use crate::canonical::PythonFloats;
use crate::error::{Code, Failure};
use crate::wire::{PermitToken, RateLimit};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-atlasent-protocol-version");

/// What nearly every answer has to fit in, in bytes.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

/// How long the body of an error is waited for.
const EXPLANATION: Duration = Duration::from_secs(1);

/// Everything that calls share.
pub(super) struct Transport {
    pub(super) endpoint: Endpoint,
    pub(super) key: ApiKey,
    pub(super) user_agent: HeaderValue,
    pub(super) http: Http,
    pub(super) limits: Limits,
    pub(super) time: Time,
}

/// One call of the contract's table.
pub(super) struct Call {
    method: Method,
    url: Url,
    body: Option<Vec<u8>>,
    accept: &'static str,
    /// A permit that goes with the request outside of its body's members for tokens.
    permit: Option<PermitToken>,
}

impl Call {
    pub(super) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    pub(super) fn with_permit(self, permit: &PermitToken) -> Self {
        let permit = Some(permit.clone());
        Self { permit, ..self }
    }

    /// What goes out with the call and must not come back in an error, an answer or a log line.
    fn secrets(&self, key: &ApiKey) -> Secrets {
        let mut secrets = Secrets::of(key);
        if let Some(permit) = &self.permit {
            secrets.add(permit);
        }
        let body = self.body.as_deref().map(str::from_utf8);
        if let Some(Ok(body)) = body {
            secrets.of_request(body);
        }
        secrets
    }
}

/// A success, with its body in full.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) about: About,
    pub(super) secrets: Secrets,
}

impl Answer {
    /// Reads the body as JSON, without what it repeats of the secrets of the call.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let Ok(text) = str::from_utf8(&self.body) else {
            return Err(self.fail(not_utf8()));
        };
        let text = self.secrets.answer(text);
        serde_json::from_str(&text).map_err(|error| self.fail(failure::of_json(&error)))
    }

    /// Reads some members of a body that is kept as it came.
    pub(super) fn read_unchanged<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let read = str::from_utf8(&self.body).map_err(|_| not_utf8());
        read.and_then(|text| serde_json::from_str(text).map_err(|error| failure::of_json(&error)))
            .map_err(|failure| self.fail(failure))
    }

    /// A failure of the call because of what the answer says.
    pub(super) fn fail(&self, failure: Failure) -> Error {
        describe(failure, &self.about.request_id, &self.secrets).into()
    }
}

/// What an answer says beside its body.
#[derive(Debug)]
pub(super) struct About {
    pub(super) request_id: String,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) retry_after: Option<Duration>,
    /// Whether an earlier attempt of the same call may have reached the server.
    pub(super) retried: bool,
}

impl Transport {
    pub(super) fn get(&self, path: &str, query: &[(&'static str, String)]) -> Result<Call, Error> {
        Ok(Call {
            method: Method::GET,
            url: self.endpoint.url(path, query)?,
            body: None,
            accept: "application/json",
            permit: None,
        })
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Call, Error> {
        self.with_body(Method::POST, path, body)
    }

    pub(super) fn delete(&self, path: &str, body: &impl Serialize) -> Result<Call, Error> {
        self.with_body(Method::DELETE, path, body)
    }

    fn with_body(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Call, Error> {
        let mut json = Vec::new();
        body.serialize(&mut Serializer::with_formatter(&mut json, PythonFloats))
            .map_err(|error| Error::invalid(format!("it does not serialize: {error}")))?;
        Ok(Call {
            method,
            url: self.endpoint.url(path, &[])?,
            body: Some(json),
            accept: "application/json",
            permit: None,
        })
    }

    /// Calls, and reads the answer as JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        call: &Call,
    ) -> Result<(T, About), Error> {
        let mut answer = self.fetch_answer(call).await?;
        let read = answer.read()?;
        Ok((read, answer.about))
    }

    /// Calls, and keeps the answer: for calls that find faults in it after it was read.
    pub(super) async fn fetch_answer(&self, call: &Call) -> Result<Answer, Error> {
        self.fetch_bytes(call, BODY_LIMIT).await
    }

    /// Calls, and keeps the answer's bytes, at most `limit` of them.
    pub(super) async fn fetch_bytes(&self, call: &Call, limit: usize) -> Result<Answer, Error> {
        let mut tries = self.tries(call)?;
        loop {
            let attempt = async {
                let (response, about) = tries.open(call).await?;
                let body = tries.within_time(read_body(response, limit)).await?;
                Ok((body, about))
            }
            .await;
            if let Some(settled) = tries.settle(attempt).await {
                let (body, about) = settled?;
                return Ok(Answer {
                    body,
                    about,
                    secrets: tries.secrets,
                });
            }
        }
    }

    /// Calls, and leaves the answer's body to be read as it comes. With it come the secrets of the
    /// call.
    pub(super) async fn open(&self, call: &Call) -> Result<(Response, About, Secrets), Error> {
        let mut tries = self.tries(call)?;
        loop {
            let attempt = tries.open(call).await;
            if let Some(settled) = tries.settle(attempt).await {
                let (response, about) = settled?;
                return Ok((response, about, tries.secrets));
            }
        }
    }

    fn tries(&self, call: &Call) -> Result<Tries<'_>, Error> {
        let schedule = Schedule::start(&self.limits, self.time.now());
        Ok(Tries {
            transport: self,
            http: self.http.client()?,
            attempt_ends: Instant::now() + schedule.time_left(self.time.now()),
            schedule,
            request_id: Uuid::new_v4().simple().to_string(),
            secrets: call.secrets(&self.key),
        })
    }

    /// The headers of every request (contract, part A, "Every request").
    fn headers(&self, call: &Call, request_id: &str) -> Result<HeaderMap, Failure> {
        let unsendable = |_| Failure::new(Code::BadRequest, "a header cannot be sent");
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", self.key.expose())).map_err(unsendable)?;
        bearer.set_sensitive(true);
        Ok(HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static(call.accept)),
            (AUTHORIZATION, bearer),
            (USER_AGENT, self.user_agent.clone()),
            (
                REQUEST_ID,
                HeaderValue::try_from(request_id).map_err(unsendable)?,
            ),
            (PROTOCOL_VERSION, HeaderValue::from_static("1")),
        ]))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("endpoint", &self.endpoint)
            .field("key", &self.key)
            .field("http", &self.http)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A failure with the id of its request, and without the secrets of its call.
pub(super) fn describe(failure: Failure, request_id: &str, secrets: &Secrets) -> Failure {
    failure
        .scrub(
            |text| secrets.scrub(text).into_owned(),
            |text| secrets.are_in(text),
        )
        .with_request_id(request_id)
}

fn not_utf8() -> Failure {
    Failure::new(Code::BadResponse, "the answer is not UTF-8")
}

/// The attempts of one call.
struct Tries<'a> {
    transport: &'a Transport,
    http: reqwest::Client,
    schedule: Schedule<'a>,
    /// When the attempt under way is given up.
    attempt_ends: Instant,
    request_id: String,
    /// What was sent, and what came back with the attempts so far.
    secrets: Secrets,
}

impl Tries<'_> {
    /// Sends the request once, and takes nothing but a success.
    async fn open(&mut self, call: &Call) -> Result<(Response, About), Attempt> {
        let headers = self
            .transport
            .headers(call, &self.request_id)
            .map_err(Attempt::last)?;
        let mut request = self
            .http
            .request(call.method.clone(), call.url.clone())
            .headers(headers);
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let sent = async { request.send().await.map_err(failure::of_transport) };
        let response = self.within_time(sent).await?;
        let about = About {
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
            return Ok((response, about));
        }
        let said = self.explanation(response).await;
        let mut attempt = failure::of_status(status, said);
        attempt.failure.retry_after = about.retry_after;
        attempt.failure.rate_limit = about.rate_limit;
        Err(attempt)
    }

    /// What the body of an answer that is no success says. The status is the answer here: a body
    /// that does not come, or cannot be read, costs its message only.
    async fn explanation(&mut self, response: Response) -> Said {
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        let patience = self.attempt_ends.min(Instant::now() + EXPLANATION);
        let read = timeout_at(patience, read_body(response, BODY_LIMIT)).await;
        let body = read.ok().and_then(Result::ok).unwrap_or_default();
        failure::said_in(&body, content_type, &mut self.secrets)
    }

    /// What is done, or a timeout when it takes longer than the attempt may.
    async fn within_time<T>(
        &self,
        work: impl Future<Output = Result<T, Attempt>>,
    ) -> Result<T, Attempt> {
        timeout_at(self.attempt_ends, work)
            .await
            .unwrap_or_else(|_| {
                let limit = self.transport.limits.timeout;
                let text = format!(
                    "no answer in time: an attempt has {limit:?}, unless the deadline comes first"
                );
                Err(Attempt::again(Failure::new(Code::Timeout, text)))
            })
    }

    /// The end of the call, or none when there is another attempt to make, whose time has come.
    async fn settle<T>(&mut self, attempt: Result<T, Attempt>) -> Option<Result<T, Error>> {
        let attempt = match attempt {
            Ok(answer) => return Some(Ok(answer)),
            Err(attempt) => attempt,
        };
        let time = &self.transport.time;
        let wait = self
            .schedule
            .next_wait(&attempt, time.now(), |most| time.jitter(most));
        let failure = describe(*attempt.failure, &self.request_id, &self.secrets);
        let Some(wait) = wait else {
            return Some(Err(failure.into()));
        };
        tracing::warn!(
            target: "atlasent",
            request_id = self.request_id,
            error = %failure,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "trying again"
        );
        time.sleep(wait).await;
        self.attempt_ends = Instant::now() + self.schedule.time_left(time.now());
        None
    }
}

/// The body in full, unless it is larger than `limit`.
async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, Attempt> {
    // Nothing but `identity` was asked for. A client that was brought along and decodes, takes the
    // header away.
    let mut encodings = response.headers().get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| encoding.as_bytes() != b"identity") {
        return Err(Attempt::last(Failure::new(
            Code::Network,
            "the answer is encoded in a way that was not asked for",
        )));
    }
    let too_long = || {
        Attempt::last(Failure::new(
            Code::BadResponse,
            format!("the answer has more than {limit} bytes"),
        ))
    };
    let expected = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity(expected.min(BODY_LIMIT));
    while let Some(chunk) = response.chunk().await.map_err(failure::of_transport)? {
        if chunk.len() > limit - body.len() {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
