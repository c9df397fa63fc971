//! A route of a protected router that declares no access, and one whose handler's signature does not show it.

use atlasent_axum::{ProtectedRouter, SharedAuthority, by_signature, get, post};

async fn list() {}

async fn deploy(body: String) {
    drop(body);
}

fn main() {
    let _ = ProtectedRouter::<SharedAuthority>::new()
        .route("/list", get("list_records", list))
        .route("/deploy", post(by_signature(), deploy));
}
