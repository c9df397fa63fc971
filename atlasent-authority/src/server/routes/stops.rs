//! Stops: switches that deny what they cover, permits that are out included (contract, part D).

use std::sync::Arc;

use atlasent::wire::StopScope;
use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::decide::respond;
use crate::keys::ApiScope;
use crate::ledger::stops::Stop;
use crate::server::api_error::Problem;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::query::{reason, time};
use crate::store::Store;
use crate::trail::chain::format_time;

/// A stop, as it is answered.
#[derive(Serialize)]
struct WireStop {
    id: String,
    #[serde(flatten)]
    scope: StopScope,
    reason: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    environment: &'static str,
}

impl From<Stop> for WireStop {
    fn from(stop: Stop) -> Self {
        Self {
            id: stop.id,
            scope: stop.scope,
            reason: stop.reason,
            created_at: format_time(stop.set_at),
            created_by: stop.set_by,
            expires_at: stop.expires_at.map(format_time),
            environment: if stop.test_only { "test" } else { "live" },
        }
    }
}

/// `POST /v1/stops`
pub(crate) async fn set<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(flatten)]
        scope: StopScope,
        reason: Option<String>,
        expires_at: Option<String>,
    }
    let set = async {
        client.may(ApiScope::Stop)?;
        let bytes = body::read(request).await?;
        let wire: Wire = body::parse(&bytes)?;
        let reason = reason(wire.reason)?;
        if reason.trim().is_empty() {
            return Err(Problem::invalid("`reason` is missing: say why"));
        }
        let until = wire.expires_at.map(|text| time("expires_at", &text));
        let until = until.transpose()?;
        let stop = app
            .authority
            .stop_for(&client.caller(), wire.scope, &reason, until)
            .await?;
        Ok::<_, Problem>(WireStop::from(stop))
    };
    respond(set.await, &client)
}

/// `GET /v1/stops`: those that hold now, the oldest first.
pub(crate) async fn list<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
) -> Response {
    #[derive(Serialize)]
    struct Stops {
        stops: Vec<WireStop>,
    }
    let listed = async {
        client.may(ApiScope::Stop)?;
        let stops = app.authority.stops().await?;
        let stops = stops.into_iter().map(WireStop::from).collect();
        Ok::<_, Problem>(Stops { stops })
    };
    respond(listed.await, &client)
}

/// `DELETE /v1/stops/{id}`
pub(crate) async fn lift<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    #[derive(Deserialize)]
    struct Wire {
        reason: Option<String>,
    }
    let lifted = async {
        client.may(ApiScope::Stop)?;
        let bytes = body::read(request).await?;
        let wire: Wire = body::parse(&bytes)?;
        let reason = reason(wire.reason)?;
        if reason.trim().is_empty() {
            return Err(Problem::invalid("`reason` is missing: say why"));
        }
        let lifted = app
            .authority
            .lift_stop_for(&client.caller(), &id, &reason)
            .await?;
        let lifted = lifted.ok_or_else(|| {
            let text = "no such stop holds: it was lifted before, has ended, or never was";
            Problem::new(StatusCode::NOT_FOUND, "STOP_NOT_FOUND", text)
        })?;
        Ok::<_, Problem>(WireStop::from(lifted))
    };
    respond(lifted.await, &client)
}
