//! Actions and policies that a build script brings into the program. That this package compiles
//! without warnings, with the lints of the workspace, is a test by itself.

use atlasent::EmbeddedPolicies;

/// The actions of the schema.
pub mod actions {
    atlasent::include_actions!();
}

/// The policies, in the program.
pub const POLICIES: EmbeddedPolicies = atlasent::include_policies!();

/// The digest of the schema.
pub const SCHEMA: &str = atlasent::schema_digest!();
