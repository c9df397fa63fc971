//! A protected router whose state holds no authority.

use atlasent_axum::{Access, ProtectedRouter, get};

#[derive(Clone)]
struct App;

async fn list() {}

fn main() {
    let _ = ProtectedRouter::<App>::new().route("/", get(Access::action("list"), list));
}
