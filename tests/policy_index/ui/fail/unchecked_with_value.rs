use atlasent::{Action, Error, protect};

#[derive(Action)]
#[action("undeclared", unchecked_policy)]
struct Undeclared;

#[protect(action = "undeclared", agent = "bot", unchecked_policy = true)]
fn value() -> Result<(), Error> {
    Ok(())
}

#[protect(action = Undeclared, agent = "bot", unchecked_policy)]
fn typed() -> Result<(), Error> {
    Ok(())
}

fn main() {}
