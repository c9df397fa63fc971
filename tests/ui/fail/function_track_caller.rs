//! The body of a sync function runs in a closure, in which `Location::caller()` would be a lie.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot")]
#[track_caller]
fn below() -> Result<u32, Error> {
    Ok(std::panic::Location::caller().line())
}

#[track_caller]
#[protect(action = "deploy", agent = "bot")]
fn above() -> Result<u32, Error> {
    Ok(std::panic::Location::caller().line())
}

#[protect(action = "deploy", agent = "bot")]
#[cfg_attr(all(), inline, track_caller)]
fn conditional() -> Result<u32, Error> {
    Ok(std::panic::Location::caller().line())
}

struct Cluster;

impl Cluster {
    #[protect(action = "deploy", agent = "bot")]
    fn method(&self) -> Result<u32, Error> {
        #![track_caller]
        Ok(std::panic::Location::caller().line())
    }
}

fn main() {
    let _ = (below(), above(), conditional(), Cluster.method());
}
