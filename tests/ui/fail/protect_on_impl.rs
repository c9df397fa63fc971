//! Each method has its own action.

use atlasent::protect;

struct Cluster;

#[protect(action = "deploy", agent = "bot")]
impl Cluster {
    async fn deploy(&self) -> Result<(), atlasent::Error> {
        Ok(())
    }
}

fn main() {}
