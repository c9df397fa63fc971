//! An implementation could do without what its trait only suggests.

use atlasent::{Action, AnyAction, Error, Permit, boundary, protect};

#[boundary]
trait Bank {
    /// Implementations are free to do this without a permit.
    fn pay(&self, amount: u64) -> Result<u64, Error>;

    /// There is nothing to protect here.
    #[protect(action = "refund", agent = "teller")]
    fn refund(&self, amount: u64) -> Result<u64, Error>;

    /// Implementations can override this.
    #[protect(action = "close", agent = "teller")]
    fn close(&self) -> Result<u64, Error> {
        Ok(1)
    }

    /// Neither protected nor open.
    fn count(&self) -> u64 {
        1
    }

    /// A permit for any action opens these.
    fn run(&self, permit: Permit);
    fn run_any(&self, permit: Permit<AnyAction>);
    fn run_generic<A: Action>(&self, permit: Permit<A>);
    fn run_by_reference(&self, permit: &Permit<Close>);
}

#[derive(Action)]
#[action("close")]
struct Close;

fn main() {}
