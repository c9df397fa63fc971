//! The path of an item with an id.

use crate::Error;
use crate::text::redact::excerpt;

/// Returns the path of an operation on an item of a collection. The id is checked, because another
/// text could lead to another path, or be a secret that would be logged.
pub(super) fn item_path(
    collection: &str,
    id: &str,
    operation: &str,
    what: &str,
) -> Result<String, Error> {
    let is_good = (1..=256).contains(&id.len())
        && (id.bytes()).all(|byte| byte.is_ascii_alphanumeric() || b"_-.:~".contains(&byte))
        && !id.trim_matches('.').is_empty();
    if is_good {
        return Ok(format!("{collection}/{id}{operation}"));
    }
    Err(Error::invalid(format!(
        "`{}` is not the id of {what}, which has at most 256 letters, digits and `_-.:~`",
        excerpt(id)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_leads_to_another_path() {
        let path = |id, operation| item_path("/v1/permits", id, operation, "a permit");
        assert_eq!(path("pt_1", "/verify").unwrap(), "/v1/permits/pt_1/verify");
        for id in [
            "",
            ".",
            "..",
            "a/b",
            "a?b",
            "a#b",
            "a%2fb",
            "a b",
            "a\nb",
            "ü",
            &"x".repeat(257),
        ] {
            assert!(matches!(path(id, ""), Err(Error::Invalid(_))), "{id:?}");
        }
    }
}
