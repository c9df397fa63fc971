//! Authentication: the caller of a request, by its API key.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use atlasent::text::bearer_token;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use super::client_address::client_address;
use super::request_id::RequestId;
use super::schema::required_schema;
use crate::keys::{ApiKey, ApiScope};
use crate::local::LocalAuthority;
use crate::local::caller::Caller;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::input::{body, own_key};
#[cfg(feature = "oidc")]
use crate::server::log_limit::log_outage;
#[cfg(feature = "oidc")]
use crate::server::oidc::OidcVerifier;
use crate::server::organizations::ServedOrg;

/// The error code for an address that sends too many wrong keys.
pub(crate) const TOO_MANY_WRONG_KEYS: &str = "TOO_MANY_WRONG_KEYS";

/// The credentials of a request: its API key, which is active.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// The stored form of the API key.
    pub(crate) key: Arc<ApiKey>,
    secret: SecretString,
}

impl Credentials {
    /// Reads and checks the API key of a request, or the token of a person. Counts wrong ones by
    /// address.
    pub(crate) async fn authenticate<S>(
        app: &App<S>,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Self, ApiError> {
        let secret = bearer(headers)?;
        #[cfg(feature = "oidc")]
        if let Some(oidc) = &app.oidc
            && is_token(&secret)
        {
            return Self::from_token(app, oidc, secret, address).await;
        }
        Self::from_api_key(app, secret, address).await
    }

    /// Checks an API key. Counts a wrong one by address.
    pub(crate) async fn from_api_key<S>(
        app: &App<S>,
        secret: SecretString,
        address: Option<IpAddr>,
    ) -> Result<Self, ApiError> {
        let key = app.keys.find(&secret).await;
        let key = key.ok_or_else(|| {
            let message = "this server does not know the API key";
            wrong(app, address, "INVALID_API_KEY", message)
        })?;
        if !key.is_active_at(app.clock.now()) {
            let message = "the API key was revoked or has expired";
            return Err(wrong(app, address, "INVALID_API_KEY", message));
        }
        Ok(Self { key, secret })
    }

    /// The credentials of a session of the console. `secret` stands for the API key, which the
    /// session does not have.
    #[cfg(feature = "console")]
    pub(crate) const fn from_session(key: Arc<ApiKey>, secret: SecretString) -> Self {
        Self { key, secret }
    }

    /// Verifies the token of a person. It works like an API key with the scopes of an approver.
    #[cfg(feature = "oidc")]
    async fn from_token<S>(
        app: &App<S>,
        oidc: &OidcVerifier,
        secret: SecretString,
        address: Option<IpAddr>,
    ) -> Result<Self, ApiError> {
        match oidc.verify(secret.expose_secret()).await {
            Ok(approver) => {
                let org = oidc.organization().clone();
                let key = ApiKey::for_person(approver, oidc.issuer(), org);
                let key = Arc::new(key);
                Ok(Self { key, secret })
            }
            Err(error) if error.is_outage() => {
                let cause = error.to_string();
                log_outage("people cannot log in", "verify a token", Some(&cause));
                let text = "the token cannot be verified now, since its issuer does not answer";
                Err(ApiError::unavailable("ISSUER_UNAVAILABLE", text))
            }
            Err(error) => Err(wrong(app, address, "INVALID_TOKEN", error.to_string())),
        }
    }

    /// Checks that the key may be used from the client's address. A key that is restricted to
    /// networks may not be used from an unknown address.
    pub(crate) fn check_network(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        let message = match address {
            Some(address) if self.key.allows_address(address) => return Ok(()),
            None if self.key.allowed_cidrs.is_empty() => return Ok(()),
            Some(address) => format!("this API key may not be used from {address}"),
            None => "this API key is restricted to networks, and the client's address is unknown"
                .to_owned(),
        };
        Err(ApiError::forbidden("IP_NOT_ALLOWED", message))
    }
}

/// The caller of an authenticated request. [`pass`](super::pass) adds it to the request's
/// extensions.
pub(crate) struct ApiCaller<S> {
    /// The stored form of the API key.
    pub(crate) key: Arc<ApiKey>,
    secret: SecretString,
    /// The client's address; `None` if the transport reports no peer.
    pub(crate) address: Option<IpAddr>,
    pub(crate) request_id: String,
    /// The digest of the schema that the caller was compiled with, if it sent one.
    pub(crate) required_schema: Option<String>,
    /// The organization of the API key. Endpoints have no other way to an authority.
    pub(crate) org: Arc<ServedOrg<S>>,
}

impl<S> ApiCaller<S> {
    /// Creates the caller of a request that has passed all checks of the [entry](super).
    pub(crate) fn new(
        credentials: Credentials,
        org: Arc<ServedOrg<S>>,
        address: Option<IpAddr>,
        id: &RequestId,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            key: credentials.key,
            secret: credentials.secret,
            address,
            request_id: id.0.clone(),
            required_schema: required_schema(headers)?,
            org,
        })
    }

    /// The authority of the caller's organization.
    pub(crate) fn authority(&self) -> &LocalAuthority<S> {
        &self.org.authority
    }

    /// The caller in the form that the authority takes: for idempotent requests, their tokens and
    /// their events.
    pub(crate) fn for_authority(&self) -> Caller<'_> {
        let caller = Caller::new(&self.key.key_id, self.secret.expose_secret().as_bytes())
            .environment(self.key.environment.as_str())
            .request_id(&self.request_id)
            .hide_secret();
        let caller = match &self.key.approver {
            Some(approver) => caller.principal(&approver.principal),
            None => caller,
        };
        let caller = match &self.required_schema {
            Some(digest) => caller.require_schema(digest),
            None => caller,
        };
        match self.address {
            Some(address) => caller.address(address),
            None => caller,
        }
    }

    /// Checks the API keys in a JSON body: refuses the key of another caller, and the caller's own
    /// key in a name.
    pub(crate) fn check_body(&self, json: &[u8]) -> Result<(), ApiError> {
        body::check_key(json, &self.key)?;
        own_key::check_names(json, self.secret.expose_secret())
    }

    /// Returns a text of the caller without its API key, for the chain, which keeps it for good.
    pub(crate) fn without_secret(&self, text: &str) -> String {
        self.for_authority().without_secret(text.to_owned())
    }

    /// Checks that the key has a scope.
    pub(crate) fn require_scope(&self, scope: ApiScope) -> Result<(), ApiError> {
        if self.key.scopes.contains(&scope) {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "INSUFFICIENT_SCOPE",
            format!("this API key does not have the scope `{scope}`"),
        ))
    }
}

/// The client's address, as the transport and trusted proxies report it.
pub(crate) fn address<S>(app: &App<S>, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(client_address(
        peer.0.ip(),
        request.headers(),
        &app.settings.trusted_proxies,
    ))
}

/// Counts a wrong API key or token. Returns the error, which tells an address with too many to
/// wait.
pub(crate) fn wrong<S>(
    app: &App<S>,
    address: Option<IpAddr>,
    code: &'static str,
    message: impl Into<Cow<'static, str>>,
) -> ApiError {
    match app.wrong_keys.count(address, app.clock.now()) {
        None => ApiError::unauthorized(code, message),
        Some(wait) => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            TOO_MANY_WRONG_KEYS,
            "too many wrong API keys from this address: check the key before the next try",
        )
        .retry_after(wait),
    }
}

/// Returns whether a secret has the form of a JWT (RFC 7519), which no API key has.
#[cfg(feature = "oidc")]
fn is_token(secret: &SecretString) -> bool {
    secret.expose_secret().split('.').count() == 3
}

fn bearer(headers: &HeaderMap) -> Result<SecretString, ApiError> {
    let missing = |message| ApiError::unauthorized("MISSING_API_KEY", message);
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(missing("send one `Authorization: Bearer <API key>`"));
    };
    match bearer_token(value.to_str().unwrap_or_default()) {
        Ok(key) => Ok(SecretString::from(key)),
        Err(_) => Err(missing("`Authorization` has to be `Bearer <API key>`")),
    }
}
