//! Many organizations on one server.

mod approvals;
mod heads;
mod isolation;
mod life;
mod limits;
mod policies;
pub(crate) mod support;
