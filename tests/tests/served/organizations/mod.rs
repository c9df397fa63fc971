//! Many organizations on one server.

mod life;
mod limits;
mod policies;
mod support;
