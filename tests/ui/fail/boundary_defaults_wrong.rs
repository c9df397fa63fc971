//! A mistake in a default is reported where the default stands, and a missing one at the method.

use atlasent::{Error, boundary, protect};

struct Bank {
    agent: u8,
}

#[boundary(agent = self.agent)]
impl Bank {
    #[protect(action = "pay")]
    pub fn pay(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[boundary]
impl Bank {
    #[protect(action = "refund")]
    pub fn refund(&self) -> Result<(), Error> {
        Ok(())
    }

    #[protect]
    pub fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
