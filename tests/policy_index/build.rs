//! Checks the policies, and has the macros check the code against them.

use atlasent_build::{Builder, Level};

fn main() {
    Builder::new("policies").lint(Level::Allow).emit();
}
