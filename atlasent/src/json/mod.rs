//! Strict reading and writing of JSON.
//!
//! - `value`: turns a `Serialize` value into JSON, without the losses of `serde_json`.
//! - `unique`: reads JSON and rejects repeated keys.
//! - `object`: reads a struct from a JSON object, with or without the unknown fields.

pub(crate) mod object;
pub(crate) mod unique;
pub(crate) mod value;
