//! The input of requests: bodies, queries and their checks.

pub(crate) mod body;
pub(crate) mod decide;
pub(crate) mod own_key;
pub(crate) mod path_id;
pub(crate) mod query;
