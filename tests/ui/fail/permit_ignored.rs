//! An unused permit is most likely a forgotten action.
#![deny(unused_must_use)]

use atlasent::testing::MockAuthority;
use atlasent::{AnyAction, AuthorityExt, Error};

async fn forgotten(authority: &MockAuthority) -> Result<(), Error> {
    authority
        .protect("deploy-bot", AnyAction::new("deploy")?)
        .await?;
    Ok(())
}

fn main() {}
