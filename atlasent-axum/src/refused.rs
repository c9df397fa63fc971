//! Turns refusals into responses.

use std::fmt;
use std::sync::Arc;

use atlasent::Error;
use atlasent_tower::{Refusal, Unauthenticated};
use axum::body::Body;
use axum::response::{IntoResponse, Response};

use crate::rejected::RejectionMark;

/// A [`Refusal`] as a response of axum: problem details (RFC 9457) with the status of the refusal.
/// A `Refusal` says why a request was refused; a `Refused` is what extractors and handlers return.
///
/// The extractors of this crate reject with a `Refused`, and handlers return it with `?`:
///
/// ```
/// use ati_client::Claims;
/// use atlasent::protect;
/// use atlasent_axum::{Ati, Refused};
///
/// #[protect(action = "deploy.production", agent = claims.sub())]
/// async fn deploy(Ati(claims): Ati) -> Result<&'static str, Refused> {
///     Ok("deployed")
/// }
/// # axum::Router::<()>::new().route("/", axum::routing::post(deploy));
/// ```
///
/// Your own error type can hold a `Refused`, or convert an [`atlasent::Error`] into one, and return
/// its response.
pub struct Refused(Box<Refusal>);

impl Refused {
    /// Returns the refusal.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.0
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let response = self.0.to_problem().map(Body::from);
        RejectionMark::Refused(Arc::from(self.0)).mark(response)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(refusal))
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}

impl From<ati_client::Error> for Refused {
    fn from(error: ati_client::Error) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Unauthenticated> for Refused {
    fn from(why: Unauthenticated) -> Self {
        Refusal::from(why).into()
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
