//! Many organizations on one server.

mod isolation;
mod life;
mod limits;
mod policies;
mod support;
