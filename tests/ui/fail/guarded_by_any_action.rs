//! `Permit<AnyAction>` is for whatever its name said at run time, so it guards nothing.

use atlasent::{AnyAction, Guarded, Permit};

struct Database;

fn lock() {
    let _ = Guarded::<_, AnyAction>::new(Database);
}

fn open(database: &Guarded<Database, AnyAction>, permit: Permit) {
    let _ = database.open(permit);
}

fn main() {}
