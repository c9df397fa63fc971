//! The path of a request, whole.

use atlasent_tower::{Refusal, check_path};
use axum::extract::OriginalUri;
use http::request::Parts;

/// The path as it was sent, in normal form (RFC 3986 §6.2.2). Inside of `nest`, the request itself has the rest of it only.
pub(crate) fn whole_path(request: &Parts) -> Result<&str, Refusal> {
    let whole = request.extensions.get::<OriginalUri>();
    let path = whole.map_or(&request.uri, |OriginalUri(uri)| uri).path();
    check_path(path)?;
    Ok(path)
}
