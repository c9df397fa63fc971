//! A permit for something that is no action.

use atlasent_axum::TakePermit;

struct Deploy;

async fn deploy(TakePermit(permit): TakePermit<Deploy>) {
    drop(permit);
}

fn main() {
    let _: axum::Router = axum::Router::new().route("/", axum::routing::post(deploy));
}
