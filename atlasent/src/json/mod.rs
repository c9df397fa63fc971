//! Strict reading and writing of JSON: repeated members are refused, and numbers keep their text.

pub(crate) mod object;
pub(crate) mod unique;
pub(crate) mod value;
