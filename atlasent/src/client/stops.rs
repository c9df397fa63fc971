//! Calls about stops. A stop makes the server deny the requests that it covers, and invalidates
//! their unused permits.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Client;
use super::message::ApiResponse;
use super::transport::LIST_LIMIT;
use crate::Error;
use crate::error::{Code, Failure};
use crate::json::object::{Object, ObjectAndOthers};
use crate::text::redact::excerpt;
use crate::wire::stop_scope::WireScope;
use crate::wire::{OtherFields, StopScope};

/// The server's record of a stop.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StopInfo {
    /// The stop's id.
    pub id: String,
    /// The agents or actions that the stop covers.
    pub scope: StopScope,
    /// The reason for the stop.
    pub reason: String,
    /// The time at which the stop was set (ISO 8601).
    pub created_at: Option<String>,
    /// The id of the API key that set the stop.
    pub created_by: Option<String>,
    /// The time at which the stop expires (ISO 8601). `None` if it does not expire.
    pub expires_at: Option<String>,
    /// The environment of the API key that set the stop: `live` or `test`. A stop of a `test` key
    /// covers only the requests of `test` keys.
    pub environment: Option<String>,
    /// The fields of the answer that this version does not know.
    pub other: OtherFields,
}

#[derive(Deserialize)]
struct WireStop {
    id: String,
    agent_id: Option<String>,
    action_type: Option<String>,
    all: Option<bool>,
    #[serde(default)]
    reason: String,
    created_at: Option<String>,
    created_by: Option<String>,
    expires_at: Option<String>,
    environment: Option<String>,
}

impl StopInfo {
    fn read(ObjectAndOthers { known, other }: ObjectAndOthers<WireStop>) -> Result<Self, Failure> {
        let scope = WireScope {
            agent_id: known.agent_id,
            action_type: known.action_type,
            all: known.all,
        };
        let scope = StopScope::try_from(scope).map_err(|_| {
            let text = "the stop in the answer does not say what it covers";
            Failure::new(Code::BadResponse, text)
        })?;
        Ok(Self {
            id: known.id,
            scope,
            reason: known.reason,
            created_at: known.created_at,
            created_by: known.created_by,
            expires_at: known.expires_at,
            environment: known.environment,
            other: OtherFields::new(other),
        })
    }
}

impl Client {
    /// Sets a stop: `POST /v1/stops`. As soon as the server has answered, it denies the requests
    /// that the stop covers, and rejects their unused permits. The stop lasts until it is
    /// [lifted](Self::lift_stop), or until `expires_at` (ISO 8601).
    ///
    /// Only `atlasent serve` has this call; the hosted service does not.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer. The stop may be set nevertheless:
    /// [`stops`](Self::stops) lists it then.
    ///
    /// ```no_run
    /// use atlasent::wire::StopScope;
    /// use atlasent::Client;
    ///
    /// # async fn f(client: Client) -> Result<(), atlasent::Error> {
    /// let scope = StopScope::agent("deploy-bot")?;
    /// let stop = client.set_stop(&scope, "it deploys in a loop", None).await?;
    /// client.lift_stop(&stop.id, "fixed in 1.4").await?;
    /// # Ok(()) }
    /// ```
    pub async fn set_stop(
        &self,
        scope: &StopScope,
        reason: &str,
        expires_at: Option<&str>,
    ) -> Result<StopInfo, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            scope: &'a StopScope,
            reason: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_at: Option<&'a str>,
        }
        let body = Body {
            scope,
            reason,
            expires_at,
        };
        let transport = &self.shared.transport;
        let call = transport.post("/v1/stops", &body)?;
        let mut answer = transport.fetch_response(&call).await?;
        let stop = read(&mut answer)?;
        if stop.scope != *scope {
            let text = "the answer is about another stop";
            return Err(answer.fail(Failure::new(Code::BadResponse, text)));
        }
        Ok(stop)
    }

    /// Fetches the active stops, the oldest first: `GET /v1/stops`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    pub async fn stops(&self) -> Result<Vec<StopInfo>, Error> {
        #[derive(Deserialize)]
        struct Wire {
            stops: Vec<ObjectAndOthers<WireStop>>,
        }
        let transport = &self.shared.transport;
        let call = transport.get("/v1/stops").answer_limit(LIST_LIMIT);
        let mut answer = transport.fetch_response(&call).await?;
        let Object(wire) = answer.read::<Object<Wire>>()?;
        let stops = wire.stops.into_iter().map(StopInfo::read);
        stops
            .collect::<Result<_, _>>()
            .map_err(|failure| answer.fail(failure))
    }

    /// Lifts a stop: `DELETE /v1/stops/{id}`. Permits that the stop invalidated stay invalid; the
    /// policies decide new requests again.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `id` is not a valid id. [`Error::Failed`] when the server gave no
    /// usable answer; with [status](Failure::status) 404 when no such stop is active, and 403 when
    /// a `test` key lifts a stop that no `test` key has set.
    pub async fn lift_stop(&self, id: &str, reason: &str) -> Result<StopInfo, Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if id.is_empty() || id.len() > 128 || !id.bytes().all(fits) {
            let shown = excerpt(id);
            return Err(Error::invalid(format!(
                "`{shown}` cannot be the id of a stop"
            )));
        }
        let transport = &self.shared.transport;
        let call = transport.delete(&format!("/v1/stops/{id}"), &json!({ "reason": reason }))?;
        let mut answer = transport.fetch_response(&call).await?;
        let stop = read(&mut answer)?;
        if stop.id != id {
            let text = "the answer is about another stop";
            return Err(answer.fail(Failure::new(Code::BadResponse, text)));
        }
        Ok(stop)
    }
}

fn read(answer: &mut ApiResponse) -> Result<StopInfo, Error> {
    let wire = answer.read::<ObjectAndOthers<WireStop>>()?;
    StopInfo::read(wire).map_err(|failure| answer.fail(failure))
}
