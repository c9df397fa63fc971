//! Headers that can be read in one way only.

use http::HeaderMap;
use http::header::AsHeaderName;

/// The value of a header, if it is there. One that stands there twice has none, and neither has one that is not plain ASCII: what
/// is wrong reads on behind the header's name.
pub(crate) fn single(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> Result<Option<&str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("stands there more than once");
    }
    let value = value.to_str().map_err(|_| "is not plain ASCII")?;
    Ok(Some(value))
}
