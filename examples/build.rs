//! Checks the policies of the quickstart, and has the macros check the code against them.

fn main() {
    atlasent_build::policies("../atlasent-cli/policies");
}
