//! An extractor that yields no action.

use atlasent_axum::Authorized;

async fn deploy(Authorized(permit): Authorized<String>) {
    drop(permit);
}

fn main() {}
