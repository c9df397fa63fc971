//! Whom a token is from when no option says so.

use std::env;

use crate::exit::Failure;

/// Those who validate with this variable set require it of a token, so that is whom tokens are from.
const VARIABLE: &str = "ATI_JWT_ISSUER";

/// The issuer that the environment names.
pub(crate) fn configured() -> Result<Option<String>, Failure> {
    match env::var_os(VARIABLE).map(|issuer| issuer.into_string()) {
        None => Ok(None),
        Some(Ok(issuer)) if !issuer.is_empty() => Ok(Some(issuer)),
        Some(_) => Err(Failure::misuse(format!(
            "`{VARIABLE}` is empty or not UTF-8: name the issuer, or unset it"
        ))),
    }
}
