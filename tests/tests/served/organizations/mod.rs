//! Many organizations on one server.

mod heads;
mod isolation;
mod life;
mod limits;
mod policies;
mod support;
