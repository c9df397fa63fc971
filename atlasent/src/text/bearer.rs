//! The token in the value of an `Authorization` header (RFC 6750, 2.1).

/// Why the value of an `Authorization` header holds no bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerError {
    /// The scheme is not `Bearer`.
    #[error("has another scheme than `Bearer`")]
    OtherScheme,
    /// No token follows the scheme.
    #[error("has no token")]
    Missing,
    /// More than a token follows the scheme. A proxy may join two headers into one, with a comma.
    #[error("has more than a token")]
    Several,
}

/// Reads the token of `Bearer <token>`. The scheme may be in any case, and spaces may surround the
/// token.
///
/// ```
/// use atlasent::text::{BearerError, bearer_token};
///
/// assert_eq!(bearer_token("Bearer abc"), Ok("abc"));
/// assert_eq!(bearer_token("Basic YTpi"), Err(BearerError::OtherScheme));
/// assert_eq!(bearer_token("Bearer abc, Bearer def"), Err(BearerError::Several));
/// ```
///
/// # Errors
///
/// [`BearerError`] for another scheme, and for a value that can be read in two ways.
pub fn bearer_token(authorization: &str) -> Result<&str, BearerError> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(BearerError::OtherScheme);
    }
    let token = token.trim_matches(' ');
    if token.is_empty() {
        return Err(BearerError::Missing);
    }
    if token.contains([',', ' ', '\t']) {
        return Err(BearerError::Several);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_alone_behind_its_scheme() {
        for value in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER   a.b.c ",
            "bEaReR a.b.c ",
        ] {
            assert_eq!(bearer_token(value), Ok("a.b.c"), "{value}");
        }
        for (value, error) in [
            ("Basic YTpi", BearerError::OtherScheme),
            ("", BearerError::OtherScheme),
            ("Bearer\ta.b.c", BearerError::OtherScheme),
            ("BearerX a.b.c", BearerError::OtherScheme),
            ("Bearer", BearerError::Missing),
            ("Bearer  ", BearerError::Missing),
            ("Bearer a.b.c, Bearer d.e.f", BearerError::Several),
            ("Bearer a.b.c,d.e.f", BearerError::Several),
            ("Bearer a.b.c d.e.f", BearerError::Several),
            ("Bearer a.b.c\t", BearerError::Several),
        ] {
            assert_eq!(bearer_token(value), Err(error), "{value:?}");
        }
    }
}
