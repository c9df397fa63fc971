//! `AtiLayer`: who asks, what that agent may use, and how often.

mod claims;
mod headers;
mod rates;
mod remembered;
mod scopes;
mod tokens;
