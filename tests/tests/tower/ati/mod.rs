//! Tests `AtiLayer`: authentication by token, scopes and rates.

mod challenges;
mod claims;
mod cors;
mod delegated;
mod headers;
mod rates;
mod remembered;
mod scopes;
mod tokens;
