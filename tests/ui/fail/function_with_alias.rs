//! What looks like a `Result` has to be one.

use atlasent::protect;

type Result<T> = std::ops::ControlFlow<String, T>;

#[protect(action = "deploy", agent = "bot")]
async fn deploy() -> Result<()> {
    Result::Continue(())
}

fn main() {}
