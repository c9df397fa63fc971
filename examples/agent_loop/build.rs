//! Checks the policies, and has the macros check the code against them.

fn main() {
    atlasent_build::policies("policies");
}
