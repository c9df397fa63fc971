//! What every request passes: a place, a time limit, an id, a key, a rate; and what every answer gets on its way out.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::app::App;
use super::problem::{Problem, Refused};
use crate::keys::{ApiKey, Scope};
use crate::replay::Caller;
use crate::store::Store;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Who calls, for the handler of a request that came through.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) key: Arc<ApiKey>,
    secret: SecretString,
    pub(super) address: IpAddr,
    pub(super) request_id: String,
}

/// The id of a request that came to the gate.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

impl Client {
    pub(super) fn caller(&self) -> Caller<'_> {
        use secrecy::ExposeSecret;
        Caller::new(&self.key.key_id, self.secret.expose_secret().as_bytes())
    }

    /// Asks for a scope.
    pub(super) fn may(&self, scope: Scope) -> Result<(), Problem> {
        if self.key.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "INSUFFICIENT_SCOPE",
            format!("this API key has not the scope `{scope}`"),
        ))
    }
}

/// What the log says of whoever has called.
struct Known {
    key: Arc<ApiKey>,
    address: IpAddr,
}

/// The gate before all endpoints of the contract.
pub(super) async fn pass<S: Store>(
    State(app): State<Arc<App<S>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    request
        .extensions_mut()
        .insert(RequestId(request_id.clone()));
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = endpoint.as_ref().map_or("unknown", MatchedPath::as_str);
    let limit = match [super::EXPORTS, super::BACKUPS].contains(&endpoint) {
        true => app.settings.export_timeout,
        false => app.settings.request_timeout,
    };
    let (mut response, client) = admit(&app, request, next, &request_id, limit).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let refused = response
        .extensions()
        .get::<Refused>()
        .map(|refused| refused.0);
    let status = response.status();
    let took = started.elapsed();
    app.metrics.answered(endpoint, status, refused, took);
    tracing::info!(
        target: "atlasent::access",
        request_id,
        endpoint,
        status = status.as_u16(),
        key_id = client.as_ref().map(|client| &*client.key.key_id),
        client = client.as_ref().map(|client| tracing::field::display(client.address)),
        code = refused,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

async fn admit<S: Store>(
    app: &App<S>,
    mut request: Request,
    next: Next,
    request_id: &str,
    limit: Duration,
) -> (Response, Option<Known>) {
    let _place = match place(app) {
        Ok(place) => place,
        Err(problem) => return (problem.respond(request_id), None),
    };
    let client = match identify(app, &request, request_id) {
        Ok(client) => client,
        Err(problem) => return (problem.respond(request_id), None),
    };
    let known = Known {
        key: Arc::clone(&client.key),
        address: client.address,
    };
    let deadline = Instant::now() + limit;
    let counted = in_time(limit, deadline, count(app, &known.key)).await;
    let rate = match counted.and_then(|counted| counted) {
        Ok(rate) => rate,
        Err(problem) => return (problem.respond(request_id), Some(known)),
    };
    let mut response = if rate.used > rate.limit {
        rate_limited(&rate).respond(request_id)
    } else {
        request.extensions_mut().insert(client);
        let answered = in_time(limit, deadline, next.run(request)).await;
        answered.unwrap_or_else(|problem| problem.respond(request_id))
    };
    rate.tell(response.headers_mut());
    (response, Some(known))
}

/// A place among the requests that are answered at a time. Whoever finds none is told at once: a queue would only make
/// answers that nobody waits for any more.
fn place<S>(app: &App<S>) -> Result<SemaphorePermit<'_>, Problem> {
    app.places
        .try_acquire()
        .map_err(|_| Problem::unavailable("OVERLOADED", "too many requests at a time: try again"))
}

fn identify<S: Store>(
    app: &App<S>,
    request: &Request,
    request_id: &str,
) -> Result<Client, Problem> {
    let secret = bearer(request.headers())?;
    let key = app
        .keys
        .find(&secret)
        .ok_or_else(|| Problem::unauthorized("INVALID_API_KEY", "the API key is not known here"))?;
    if !key.is_good_at(Timestamp::now()) {
        return Err(Problem::unauthorized(
            "INVALID_API_KEY",
            "the API key was revoked, or its time is over",
        ));
    }
    let address = app
        .settings
        .client_address(peer(request), request.headers());
    if !key.allows_address(address) {
        return Err(Problem::forbidden(
            "IP_NOT_ALLOWED",
            format!("this API key may not be used from {address}"),
        ));
    }
    Ok(Client {
        key,
        secret,
        address,
        request_id: request_id.to_owned(),
    })
}

fn bearer(headers: &HeaderMap) -> Result<SecretString, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(Problem::unauthorized(
            "MISSING_API_KEY",
            "send one `Authorization: Bearer <API key>`",
        ));
    };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(SecretString::from(key.trim()))
        }
        _ => Err(Problem::unauthorized(
            "MISSING_API_KEY",
            "`Authorization` has to be `Bearer <API key>`",
        )),
    }
}

fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Where no socket says it, it is nobody's address, which no list of networks holds.
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| {
        peer.0.ip().to_canonical()
    })
}

/// How much of a key's rate is left in this minute.
struct Rate {
    limit: u64,
    used: u64,
    /// When the minute is over, in seconds since 1970.
    reset: i64,
    /// Seconds until then.
    wait: u64,
}

async fn count<S: Store>(app: &App<S>, key: &ApiKey) -> Result<Rate, Problem> {
    let now = Timestamp::now().as_second();
    let minute = now.div_euclid(60);
    let store = app.authority.store();
    let used = store
        .count_call(&key.key_id, minute)
        .await
        .map_err(|error| {
            tracing::error!(target: "atlasent", %error, "a call cannot be counted");
            Problem::unavailable(
                "STORE_UNAVAILABLE",
                "the call could not be counted, so it is not answered: try again",
            )
        })?;
    let reset = (minute + 1) * 60;
    Ok(Rate {
        limit: key.rate_limit_per_minute,
        used,
        reset,
        wait: u64::try_from(reset - now).unwrap_or(60),
    })
}

impl Rate {
    fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.limit.saturating_sub(self.used).into());
        headers.insert(RESET, self.reset.into());
    }
}

fn rate_limited(rate: &Rate) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "RATE_LIMITED",
        format!("this API key is good for {} calls a minute", rate.limit),
    )
    .after(rate.wait)
}

/// What comes of something, if it ends in time and does not panic: a broken connection would tell nobody whose fault it was.
pub(super) async fn in_time<T>(
    limit: Duration,
    deadline: Instant,
    answering: impl Future<Output = T>,
) -> Result<T, Problem> {
    // What panicked is dropped, and what it shared is guarded by locks that stand that.
    let answering = AssertUnwindSafe(answering).catch_unwind();
    match tokio::time::timeout_at(deadline, answering).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => {
            tracing::error!(target: "atlasent", "a request ended in a panic");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL_ERROR",
                "the request could not be answered",
            ))
        }
        Err(_) => Err(Problem::unavailable(
            "TIMEOUT",
            format!("there was no answer within {} ms", limit.as_millis()),
        )),
    }
}

/// The caller's id for the request if it can be one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let sent = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let in_form = |id: &&str| {
        (8..=128).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    sent.filter(in_form)
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}
