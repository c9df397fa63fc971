//! The issuer of a token: an option, else the environment's, else the library's default.

use std::env;

use crate::exit::Failure;

/// A verifier with this variable set requires its issuer, so tokens that are issued beside it name
/// that one.
const VARIABLE: &str = "ATI_JWT_ISSUER";

/// The issuer of the option, else the one that the environment names, if any.
pub(crate) fn chosen(option: Option<&str>) -> Result<Option<String>, Failure> {
    if let Some(issuer) = option {
        return Ok(Some(issuer.to_owned()));
    }
    match env::var_os(VARIABLE).map(|issuer| issuer.into_string()) {
        None => Ok(None),
        Some(Ok(issuer)) if !issuer.is_empty() => Ok(Some(issuer)),
        Some(_) => Err(Failure::misuse(format!(
            "`{VARIABLE}` is empty or not UTF-8: name the issuer, or unset it"
        ))),
    }
}
