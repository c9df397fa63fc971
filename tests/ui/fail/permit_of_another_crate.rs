//! The macro cannot see whose `Permit` a type is. The compiler says what to write.

use atlasent::{Error, protect};

mod parking {
    pub struct Permit {
        pub spot: u32,
    }
}

#[protect(action = "park", agent = "bot")]
async fn asynchronous(permit: parking::Permit) -> Result<u32, Error> {
    Ok(permit.spot)
}

#[protect(action = "park", agent = "bot")]
fn synchronous(car: &str, mut permit: parking::Permit) -> Result<u32, Error> {
    permit.spot += 1;
    Ok(permit.spot)
}

fn main() {}
