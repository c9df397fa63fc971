//! A protected router in whose state nobody can be asked.

use atlasent_axum::{Access, ProtectedRouter, get};

#[derive(Clone)]
struct App;

async fn list() {}

fn main() {
    let _ = ProtectedRouter::<App>::new().route("/", get(Access::action("list"), list));
}
