//! The issuer of a token: the option `--iss`, else the environment, else the library's default.

use std::env;

use crate::exit::Failure;

/// The environment variable with the issuer. Verifiers require this issuer, so tokens are issued
/// with it by default.
const ISSUER_VARIABLE: &str = "ATI_JWT_ISSUER";

/// Returns the issuer of the option, else of the environment variable, else `None`. Fails if the
/// variable is empty or not UTF-8.
pub(crate) fn resolve(option: Option<&str>) -> Result<Option<String>, Failure> {
    if let Some(issuer) = option {
        return Ok(Some(issuer.to_owned()));
    }
    match env::var_os(ISSUER_VARIABLE).map(|issuer| issuer.into_string()) {
        None => Ok(None),
        Some(Ok(issuer)) if !issuer.is_empty() => Ok(Some(issuer)),
        Some(_) => Err(Failure::misuse(format!(
            "`{ISSUER_VARIABLE}` is empty or not UTF-8: set it to the issuer, or unset it"
        ))),
    }
}
