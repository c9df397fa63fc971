//! A facade over `atlasent`, which is called `guard` here: crates that depend on this one only
//! reach it by [`inner::atlasent`].
//!
//! Without `crate`, an expansion looks for a crate called `atlasent`, which does not exist here:
//!
//! ```compile_fail,E0432
//! #[guard::protect(action = "deploy", agent = "bot")]
//! fn deploy() -> Result<(), guard::Error> {
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail,E0432
//! #[derive(guard::Action)]
//! #[action("flush")]
//! struct Flush;
//! ```

/// Where facades keep what they pass on.
pub mod inner {
    pub use guard as atlasent;
}

pub use guard::{Action, Error, Permit, protect, testing::MockAuthority};
