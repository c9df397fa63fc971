//! Checks the policies, and writes what the package includes.

use atlasent_build::{Builder, Level};

fn main() {
    Builder::new("policies").lint(Level::Allow).emit();
}
