//! `AtiLayer`: who asks, what that agent may use, and how often.

mod challenges;
mod claims;
mod cors;
mod headers;
mod rates;
mod remembered;
mod scopes;
mod tokens;
