//! Who asks, as an extractor.

use ati_client::Claims;
use atlasent_tower::{Refusal, Unauthenticated, claims};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::Refused;

/// The verified claims of the agent who asks. An [`AtiLayer`](atlasent_tower::AtiLayer) has to stand outside.
///
/// ```
/// use atlasent_axum::Ati;
///
/// async fn whoami(Ati(claims): Ati) -> String {
///     claims.sub().to_owned()
/// }
/// # axum::Router::<()>::new().route("/", axum::routing::get(whoami));
/// ```
///
/// Nobody is answered with 401; where the layer is missing, that is our mistake, and a 500. With an optional layer,
/// `Option<Ati>` is `None` for nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ati(pub Claims);

impl<S: Send + Sync> FromRequestParts<S> for Ati {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Refused> {
        Ok(Self(claims(request)?.clone()))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Ati {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Option<Self>, Refused> {
        match claims(request) {
            Ok(claims) => Ok(Some(Self(claims.clone()))),
            Err(Refusal::Unauthenticated(Unauthenticated::NoToken)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}
