//! Many organizations on one server.

mod heads;
mod life;
mod limits;
mod policies;
mod support;
