//! A permit cannot be put together.

use atlasent::{AnyAction, Permit};

fn main() -> Result<(), atlasent::Error> {
    let record = atlasent::testing::permit(AnyAction::new("deploy")?)?.record();
    let _: Permit = Permit {
        action: AnyAction::new("deploy")?,
        record: record.into(),
    };
    Ok(())
}
