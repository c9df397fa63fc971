//! Subtyping between action types converts no permit: `Act<for<'a> fn(&'a u8)>` and `Act<fn(&'static u8)>` are two actions.

use atlasent::{Action, Error, Guarded, Permit};

#[derive(Action)]
#[action("drop_table")]
struct Act<T: Send + Sync + 'static> {
    #[action(skip)]
    with: T,
}

type Any = Act<for<'a> fn(&'a u8)>;
type Static = Act<fn(&'static u8)>;

struct Database;

fn convert(permit: Permit<Any>) -> Permit<Static> {
    permit
}

fn open(database: &Guarded<Database, Static>, permit: Permit<Any>) -> Result<(), Error> {
    database.with(permit, |_| ())
}

fn convert_the_lock(database: Guarded<Database, Static>) -> Guarded<Database, Any> {
    database
}

fn main() {}
