//! The display of text from outside: names, reasons and messages of agents, authorities and
//! settings.
//!
//! [`Escaped`] prints such a text on one line. Accessors of this crate return text unescaped; wrap
//! it in [`Escaped`] before it goes to a log or a terminal.

pub(crate) mod escape;
pub(crate) mod redact;
pub(crate) mod unescape;

pub use escape::Escaped;
