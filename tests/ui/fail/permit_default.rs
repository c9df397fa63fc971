//! There is no default permit.

use atlasent::Permit;

fn main() {
    let _: Permit = Permit::default();
    let _: Permit = Default::default();
}
