//! A permit cannot be put together, and not from another one either.

use atlasent::{AnyAction, Permit};

fn main() -> Result<(), atlasent::Error> {
    let genuine = atlasent::testing::permit(AnyAction::new("read")?)?;
    let _: Permit = Permit {
        action: AnyAction::new("deploy")?,
        ..genuine
    };
    Ok(())
}
