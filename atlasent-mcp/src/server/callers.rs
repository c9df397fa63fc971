//! Who sends the messages of a connection.

use std::fmt;
use std::sync::Arc;

use rmcp::model::Extensions;

use crate::caller::Caller;
use crate::refusal::Refusal;

type FromRequest = dyn Fn(&Extensions) -> Result<Caller, Refusal> + Send + Sync;

/// Where a [`GuardedServer`](super::GuardedServer) learns who sends a message.
#[derive(Clone)]
pub struct Callers(Source);

#[derive(Clone)]
enum Source {
    Configured(Box<Caller>),
    FromRequest(Arc<FromRequest>),
}

impl Callers {
    /// Takes the same caller for every message: for stdio, where one process starts the server.
    #[must_use]
    pub fn configured(caller: Caller) -> Self {
        Self(Source::Configured(Box::new(caller)))
    }

    /// Takes the caller from the ATI token of each HTTP request, which an `AtiLayer` of
    /// `atlasent-tower` has verified. A request without one is refused.
    #[cfg(feature = "ati")]
    #[must_use]
    pub fn from_tokens() -> Self {
        Self::from_request(|extensions| {
            let parts = extensions.get::<http::request::Parts>();
            let claims = parts.and_then(|parts| parts.extensions.get::<ati_client::Claims>());
            let claims = claims.ok_or_else(|| {
                Refusal::deny("NO_TOKEN", "the request has no verified token of an agent")
            })?;
            Caller::from_claims(claims.clone()).map_err(|_| {
                Refusal::deny("BAD_TOKEN", "the subject of the token cannot be an agent")
            })
        })
    }

    /// Takes the caller from what the transport knows of a message. Over HTTP that is the
    /// `http::request::Parts` of its request. The caller has to be authenticated.
    #[must_use]
    pub fn from_request(
        caller: impl Fn(&Extensions) -> Result<Caller, Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self(Source::FromRequest(Arc::new(caller)))
    }

    pub(super) fn of_request(&self, extensions: &Extensions) -> Result<Caller, Refusal> {
        match &self.0 {
            Source::Configured(caller) => Ok(Caller::clone(caller)),
            Source::FromRequest(caller) => caller(extensions),
        }
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Configured(caller) => f.debug_tuple("Configured").field(caller).finish(),
            Source::FromRequest(_) => f.write_str("FromRequest"),
        }
    }
}
