//! Options that name an environment variable, for values that are no arguments: every user of the
//! machine can see those.

use std::env;

use atlasent::text::quoted;

use crate::exit::Failure;

/// Reads the variable that an option names.
pub(crate) fn read(option: &str, variable: &str) -> Result<String, Failure> {
    env::var(variable).map_err(|_| {
        Failure::misuse(format!(
            "`{option}`: the environment variable {} is not set or not UTF-8",
            quoted(variable)
        ))
    })
}
