//! Reads the token in the header `Authorization` of a request (RFC 6750 §2.1).

use atlasent::text::{BearerError, bearer_token};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::{Unauthenticated, header};

/// Returns the token, or `None` without an `Authorization` header. An ambiguous header is an error.
pub(crate) fn token(headers: &HeaderMap) -> Result<Option<&str>, Unauthenticated> {
    let value = header::single(headers, AUTHORIZATION).map_err(Unauthenticated::BadHeader)?;
    let Some(value) = value else {
        return Ok(None);
    };
    match bearer_token(value) {
        Ok(token) => Ok(Some(token)),
        Err(BearerError::OtherScheme) => Err(Unauthenticated::OtherScheme),
        Err(BearerError::Missing) => Err(Unauthenticated::BadHeader("has no token")),
        Err(_) => Err(Unauthenticated::BadHeader("has more than a token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&[u8]]) -> Result<Option<String>, Unauthenticated> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        token(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn one_header_of_the_scheme_bearer_holds_a_token() {
        assert_eq!(read(&[]), Ok(None));
        for header in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER   a.b.c",
            "bEaReR a.b.c ",
        ] {
            assert_eq!(
                read(&[header.as_bytes()]),
                Ok(Some("a.b.c".into())),
                "{header}"
            );
        }
    }

    #[test]
    fn a_header_that_can_be_read_in_two_ways_holds_none() {
        let cases: [&[&[u8]]; 9] = [
            &[b"Bearer a.b.c", b"Bearer a.b.c"],
            &[b"Bearer a.b.c", b"Basic YTpi"],
            &[b"Basic YTpi", b"Bearer a.b.c"],
            &[b"Bearer a.b.c, Bearer d.e.f"],
            &[b"Bearer a.b.c,d.e.f"],
            &[b"Bearer a.b.c d.e.f"],
            &[b"Bearer"],
            &[b"Bearer  "],
            &[b"Bearer a.b.\xc3\xa9"],
        ];
        for case in cases {
            assert!(
                matches!(read(case), Err(Unauthenticated::BadHeader(_))),
                "{case:?}"
            );
        }
    }

    #[test]
    fn a_header_of_another_scheme_holds_none() {
        for header in ["Basic YTpi", "", "Bearer\ta.b.c", "BearerX a.b.c"] {
            assert_eq!(
                read(&[header.as_bytes()]),
                Err(Unauthenticated::OtherScheme),
                "{header}"
            );
        }
    }
}
