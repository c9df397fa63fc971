//! The extractor of the caller's verified claims.

use ati_client::Claims;
use atlasent_tower::{Refusal, Unauthenticated, check_request_path, claims};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::Refused;

/// Extracts the verified claims of the caller, which an [`AtiLayer`](atlasent_tower::AtiLayer)
/// around the route has put into the request.
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
/// optional layer, `Option<Ati>` is `None` for an anonymous request. A request whose path is not in
/// normal form gets 400; inside `nest`, the whole path is checked.
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
