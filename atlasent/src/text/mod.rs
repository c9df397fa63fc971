//! The display of text from outside: names, reasons and messages of agents, authorities and
//! settings.
//!
//! [`Escaped`] prints such a text on one line. Accessors of this crate return text unescaped; wrap
//! it in [`Escaped`] before it goes to a log or a terminal.

mod bearer;
pub(crate) mod escape;
mod host;
mod json_error;
mod quoted;
pub(crate) mod redact;
mod toml_error;
pub(crate) mod unescape;

pub use bearer::{BearerError, bearer_token};
pub use escape::Escaped;
pub use host::is_loopback_host;
pub use json_error::json_error;
pub use quoted::quoted;
pub use toml_error::toml_error;
