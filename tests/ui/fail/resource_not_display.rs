//! A resource has a name.

use atlasent::{Error, protect};

struct Cluster;

#[protect(action = "deploy", agent = "bot", resource = cluster)]
async fn deploy(cluster: &Cluster) -> Result<(), Error> {
    Ok(())
}

fn main() {}
