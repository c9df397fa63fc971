//! Only functions run.

use atlasent::protect;

#[protect(action = "deploy", agent = "bot")]
struct Deploy {
    commit: String,
}

fn main() {
    let _ = Deploy {
        commit: "4f2a".into(),
    };
}
