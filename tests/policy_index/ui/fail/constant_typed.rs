//! Arguments that belong to a name, beside a constant that is an action; and a constant that the
//! expansion cannot name.

use atlasent::{Action, Error, protect};

#[derive(Action)]
#[action("look")]
struct Look;

impl Look {
    const NONE: Self = Self;
    const NAME: &str = "look";

    #[protect(action = Self::NAME, agent = "bot")]
    fn of_self() -> Result<(), Error> {
        Ok(())
    }
}

#[protect(action = Look::NONE, agent = "bot", resource = "door")]
fn resource() -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action(Self::NAME)]
struct OfSelf;

#[derive(Action)]
#[action(Look::NONE)]
struct NoName;

fn main() {}
