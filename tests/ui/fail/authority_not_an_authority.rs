//! The value of `authority` implements `Authority`.

use atlasent::{Error, protect};

struct App {
    database: String,
}

#[protect(
    action = "deploy",
    agent = "bot",
    authority = "https://api.example.com"
)]
async fn url() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", authority = app.database)]
fn field(app: &App) -> Result<(), Error> {
    Ok(())
}

fn main() {}
