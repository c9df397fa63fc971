//! Has the macros check the cases against the policies.

use atlasent_build::{Builder, Level};

fn main() {
    Builder::new("../policies").lint(Level::Allow).emit();
}
