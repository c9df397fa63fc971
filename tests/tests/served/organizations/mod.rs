//! Many organizations on one server.

mod heads;
mod isolation;
mod life;
mod limits;
mod policies;
pub(crate) mod support;
