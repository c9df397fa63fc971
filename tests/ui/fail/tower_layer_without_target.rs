//! A layer that is not told what requests ask for.

use atlasent::testing::MockAuthority;
use atlasent_tower::ProtectLayer;

fn main() {
    let _ = ProtectLayer::new(MockAuthority::new(), "deploy");
}
