//! A trait declares its method as callers see it: without the permit.

use atlasent::{Error, Permit, protect};

trait Deploy {
    fn deploy(&self, commit: &str, permit: Permit) -> Result<(), Error>;
}

struct Cluster;

impl Deploy for Cluster {
    #[protect(action = "deploy", agent = "bot", context = { commit })]
    fn deploy(&self, commit: &str, permit: Permit) -> Result<(), Error> {
        drop(permit);
        Ok(())
    }
}

trait RollBack {
    #[protect(action = "roll_back", agent = "bot")]
    fn roll_back(&self, permit: Permit) -> Result<(), Error>;
}

fn main() {}
