//! `#[debug_handler]` above `#[protect]` sees the permit, which no caller can bring: `#[protect]` has to stand above.

use atlasent::{Permit, protect};
use atlasent_axum::Refused;

#[axum::debug_handler]
#[protect(action = "deploy", agent = "deploy-bot")]
async fn deploy(commit: String, permit: Permit) -> Result<String, Refused> {
    Ok(format!("{commit} {permit:?}"))
}

fn main() {}
