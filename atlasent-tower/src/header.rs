//! Reads headers that must not be ambiguous.

use http::HeaderMap;
use http::header::AsHeaderName;

/// Returns the value of a header, or `None` if it is absent. Fails if the header is repeated or not
/// plain ASCII; the error text continues a sentence that starts with the name of the header.
pub(crate) fn single(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> Result<Option<&str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("appears more than once");
    }
    let value = value.to_str().map_err(|_| "is not plain ASCII")?;
    Ok(Some(value))
}
