//! The protected methods of a trait have one implementation.

use atlasent::{Action, Error, Permit, boundary, protect};

#[derive(Action)]
#[action("close")]
struct Close;

#[boundary(front = Bank, agent = "teller")]
trait BankBackend {
    fn execute(&self, permit: Permit<Close>) -> Result<(), Error>;

    #[protect(action = Close)]
    fn close(&self, permit: Permit<Close>) -> Result<(), Error> {
        self.execute(permit)
    }
}

struct Branch;

impl BankBackend for Branch {
    fn execute(&self, _: Permit<Close>) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Bank for Branch {
    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
