//! Text from outside: displayed on one line, without the secrets that it may repeat.

mod bearer;
pub(crate) mod escape;
mod json_error;
pub(crate) mod redact;
pub(crate) mod unescape;

pub use bearer::{BearerError, bearer_token};
pub use escape::Escaped;
pub use json_error::json_error;
