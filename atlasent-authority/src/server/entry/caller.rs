//! The caller of a request: API key, address and request id.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use super::client_address::client_address;
use super::request_id::RequestId;
use crate::keys::{ApiKey, ApiScope};
use crate::local::caller::Caller;
use crate::server::api_error::Problem;
use crate::server::app::App;

/// The code of the refusal that an address gets which sent too many wrong keys.
pub(crate) const THROTTLED: &str = "TOO_MANY_WRONG_KEYS";

/// The caller of an authenticated request. The gate adds it to the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct ApiCaller {
    /// The API key as it is stored.
    pub(crate) key: Arc<ApiKey>,
    secret: SecretString,
    /// The client's address; unknown where the transport reports no peer.
    pub(crate) address: Option<IpAddr>,
    pub(crate) request_id: String,
}

impl ApiCaller {
    /// Authenticates a request.
    pub(crate) fn authenticate<S>(
        app: &App<S>,
        request: &Request,
        address: Option<IpAddr>,
        id: &RequestId,
    ) -> Result<Self, Problem> {
        let secret = bearer(request.headers())?;
        let now = app.authority.clock.now();
        let wrong = |message| match app.wrong_keys.count(address, now) {
            None => Problem::unauthorized("INVALID_API_KEY", message),
            Some(wait) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                THROTTLED,
                "too many wrong API keys from this address: check the key before the next try",
            )
            .after(wait),
        };
        let key = app.keys.find(&secret);
        let key = key.ok_or_else(|| wrong("the API key is not known here"))?;
        if !key.is_good_at(now) {
            return Err(wrong("the API key was revoked, or has expired"));
        }
        Ok(Self {
            key,
            secret,
            address,
            request_id: id.0.clone(),
        })
    }

    /// Checks that the key may be used from the caller's address. A key that is restricted to
    /// networks may not be used from an unknown one.
    pub(crate) fn check_network(&self) -> Result<(), Problem> {
        let message = match self.address {
            Some(address) if self.key.allows_address(address) => return Ok(()),
            None if self.key.allowed_cidrs.is_empty() => return Ok(()),
            Some(address) => format!("this API key may not be used from {address}"),
            None => "this API key is restricted to networks, and the client's address is unknown"
                .to_owned(),
        };
        Err(Problem::forbidden("IP_NOT_ALLOWED", message))
    }

    /// The caller as the authority knows it, for idempotent requests, their tokens and events.
    pub(crate) fn caller(&self) -> Caller<'_> {
        let caller = Caller::new(&self.key.key_id, self.secret.expose_secret().as_bytes())
            .environment(self.key.environment.as_str())
            .request_id(&self.request_id);
        match self.address {
            Some(address) => caller.address(address),
            None => caller,
        }
    }

    /// Checks that the key grants a scope.
    pub(crate) fn may(&self, scope: ApiScope) -> Result<(), Problem> {
        if self.key.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "INSUFFICIENT_SCOPE",
            format!("this API key does not have the scope `{scope}`"),
        ))
    }
}

/// The address of the client, as far as the transport and trusted proxies tell.
pub(crate) fn address<S>(app: &App<S>, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(client_address(
        peer.0.ip(),
        request.headers(),
        &app.settings.trusted_proxies,
    ))
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
