//! A facade over `atlasent`, which is called `guard` here. Crates that depend on this crate only
//! reach `atlasent` by [`inner::atlasent`].
//!
//! Without the argument `crate`, an expansion needs a crate called `atlasent`, which is not in
//! scope here:
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

/// A module of re-exports, as facades have.
pub mod inner {
    pub use guard as atlasent;
}

/// An action of this crate.
#[derive(Debug, guard::Action)]
#[action("renamed.flush", crate = guard)]
pub struct Flush;

/// Flushes.
///
/// # Errors
///
/// The refusal.
#[guard::protect(action = Flush, agent = "janitor", authority = authority, crate = guard)]
pub fn flush(authority: &MockAuthority) -> Result<(), Error> {
    Ok(())
}

pub use guard::{Action, Error, Permit, protect, testing::MockAuthority};
