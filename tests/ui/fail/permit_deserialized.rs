//! A permit cannot be read from anywhere.

use atlasent::Permit;

fn main() {
    let _ = serde_json::from_str::<Permit>("{}");
}
