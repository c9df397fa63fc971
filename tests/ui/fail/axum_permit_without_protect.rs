//! A handler that takes a permit, and no `#[protect]` above it.

use atlasent::Permit;

#[axum::debug_handler]
async fn deploy(permit: Permit) -> String {
    permit.agent().to_string()
}

fn main() {
    let _: axum::Router = axum::Router::new().route("/", axum::routing::post(deploy));
}
