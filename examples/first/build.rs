//! Checks the policies, and has `#[protect]` check the code against them.

fn main() {
    atlasent_build::policies("policies");
}
