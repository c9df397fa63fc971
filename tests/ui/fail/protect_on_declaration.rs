//! What is protected is a body.

use atlasent::{Error, protect};

trait Deploy {
    #[protect(action = "deploy", agent = "bot")]
    async fn deploy(&self, commit: &str) -> Result<(), Error>;
}

struct Cluster;

impl Deploy for Cluster {
    async fn deploy(&self, _commit: &str) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
