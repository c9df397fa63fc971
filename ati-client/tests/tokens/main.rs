//! Tests of the public interface: every row and sentence of the contract for tokens.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what tests call may panic as tests do"
)]

mod builders;
mod delegated;
mod displayed;
mod headers;
mod hostile;
mod issued;
mod keys;
mod properties;
mod provider;
mod provisioned;
mod python;
mod rates;
mod reference;
mod remembered;
mod rotation;
mod scopes;
mod support;
mod validation;
