//! The verified claims of the caller, as an extractor.

use ati_client::Claims;
use atlasent_tower::{Refusal, Unauthenticated, check_request_path, claims};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::Refused;

/// The verified claims of the caller. An [`AtiLayer`](atlasent_tower::AtiLayer) has to stand
/// outside.
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
/// Anonymous requests get 401; a missing `AtiLayer` is a misconfiguration and gets 500. With an
/// optional layer, `Option<Ati>` is `None` for an anonymous request. A path that is not in normal
/// form gets 400, of the whole request, also inside of `nest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ati(pub Claims);

impl<S: Send + Sync> FromRequestParts<S> for Ati {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Refused> {
        check_request_path(request)?;
        Ok(Self(claims(request)?.clone()))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Ati {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Option<Self>, Refused> {
        check_request_path(request)?;
        match claims(request) {
            Ok(claims) => Ok(Some(Self(claims.clone()))),
            Err(Refusal::Unauthenticated(Unauthenticated::NoToken)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}
