//! The macros that include say which build script they need.

atlasent::include_actions!();

const POLICIES: atlasent::EmbeddedPolicies = atlasent::include_policies!();

const SCHEMA: &str = atlasent::schema_digest!();

fn main() {
    println!("{POLICIES:?} {SCHEMA}");
}
