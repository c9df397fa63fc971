//! The schema that the program was compiled with: sent with the calls that decide, and compared
//! with the schema that the answer states.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::headers::single_value;
use crate::Error;
use crate::error::{Code, Failure};
use crate::text::redact::excerpt;
use crate::wire::SCHEMA_DIGEST_HEADER;

/// The header of the digest, in requests and in answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static(SCHEMA_DIGEST_HEADER);

/// The digest of the schema that answers have to state.
#[derive(Clone, Debug)]
pub(super) struct RequiredSchema(String);

impl RequiredSchema {
    /// Takes a digest of 64 digits.
    pub(super) fn new(digest: String) -> Result<Self, Error> {
        let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match digest.len() == 64 && digest.bytes().all(is_hex) {
            true => Ok(Self(digest)),
            false => Err(Error::config(format!(
                "the required schema `{}` is not a digest of 64 digits of lower-case hex: pass \
                 `atlasent::schema_digest!()`",
                excerpt(&digest)
            ))),
        }
    }

    pub(super) fn header(&self) -> Result<HeaderValue, Failure> {
        HeaderValue::try_from(&self.0)
            .map_err(|_| Failure::new(Code::BadRequest, "a header cannot be sent"))
    }

    /// Compares the schema with the one that an answer states. An answer that states none comes
    /// from a server that compares no schemas, so it is refused.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let required = &self.0;
        let refuse = |why: String| Err(Failure::new(Code::BadResponse, why));
        match single_value(headers, SCHEMA_DIGEST_HEADER) {
            Some(stated) if stated == required => Ok(()),
            Some(stated) => refuse(format!(
                "the answer is by policies with the schema `{}`, and the program was compiled with the schema \
                 `{required}`: deploy a program and policies that have the same schema",
                excerpt(stated)
            )),
            None => refuse(format!(
                "the answer does not state one schema (`{SCHEMA_DIGEST_HEADER}`), and the client requires the schema \
                 `{required}`: use a server that compares schemas and has policies with that schema, or do not call \
                 `require_schema`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_required_schema_is_a_digest() {
        assert!(RequiredSchema::new(DIGEST.to_owned()).is_ok());
        for wrong in [
            "",
            "5e0c",
            &DIGEST.to_uppercase(),
            &format!("{DIGEST}0"),
            &DIGEST.replace('0', "\n"),
        ] {
            let error = RequiredSchema::new(wrong.to_owned()).unwrap_err();
            assert!(error.to_string().contains("schema_digest!()"), "{error}");
        }
    }

    #[test]
    fn only_an_answer_that_states_this_schema_is_accepted() {
        let required = RequiredSchema::new(DIGEST.to_owned()).unwrap();
        let check = |stated: &[&str]| {
            let mut headers = HeaderMap::new();
            for digest in stated {
                headers.append(HEADER, HeaderValue::from_str(digest).unwrap());
            }
            required
                .check(&headers)
                .map_err(|failure| failure.to_string())
        };
        assert_eq!(check(&[DIGEST]), Ok(()));
        let other = DIGEST.replace('f', "e");
        for wrong in [&other, "", "5e0c", &DIGEST.to_uppercase()] {
            let error = check(&[wrong]).unwrap_err();
            assert!(error.contains("policies with the schema"), "{error}");
        }
        for unclear in [&[][..], &[DIGEST, &other]] {
            let error = check(unclear).unwrap_err();
            assert!(error.contains("does not state one schema"), "{error}");
        }
    }
}
