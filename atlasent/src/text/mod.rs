//! Text from outside: displayed on one line, without the secrets that it may repeat.

pub(crate) mod escape;
pub(crate) mod redact;
pub(crate) mod unescape;

pub use escape::Escaped;
