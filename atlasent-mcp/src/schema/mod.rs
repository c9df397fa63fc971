//! The schema of a tool's arguments: checked before anybody is asked, and shown to each caller
//! without what the caller may not set.
//!
//! A field, or a variant of an enum, that not every caller may set carries what it requires in the
//! schema:
//!
//! ```
//! use rmcp::schemars::{self, JsonSchema};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Delete {
//!     path: String,
//!     /// Only for agents whose token grants the scope.
//!     #[serde(default)]
//!     #[schemars(extend("x-atlasent-requires" = "tool:fs:delete:force"))]
//!     force: bool,
//!     /// Only where the policies allow the action.
//!     #[serde(default)]
//!     #[schemars(extend("x-atlasent-requires-action" = "fs.delete_for_good"))]
//!     for_good: bool,
//! }
//! # let _ = |delete: Delete| (delete.path, delete.force, delete.for_good);
//! ```
//!
//! ```text
//! the tool's schema ──► shown:    without the hidden parts, and without these keywords
//!                   ──► enforced: each hidden part is `false`, which no value fits
//! ```
//!
//! Arguments have to fit the tool's schema as it is *and* the enforced ones, so hiding a part never
//! admits more arguments. A field that one branch hides (`anyOf`, `then`, …) is hidden in all
//! branches that do not declare it open. A caller who may not set a required field does not see the
//! object, the branch, or the whole tool that requires it. A requirement in a place that cannot be
//! left out, such as `not` or `if`, hides the schema around it.

mod compiled;
mod document;
mod hidden;
mod overlay;
mod restrict;

pub(crate) use compiled::{ArgumentError, CompiledTool};

use std::fmt;

/// The keyword of a schema that names the ATI scope which its part requires.
pub const REQUIRES_SCOPE: &str = "x-atlasent-requires";
/// The keyword of a schema that names the action which the authority must allow for its part.
pub const REQUIRES_ACTION: &str = "x-atlasent-requires-action";

/// What a part of a tool's arguments requires of a caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// The token of the caller grants this ATI scope. A caller without a token has no scopes.
    Scope(String),
    /// The authority would allow the caller this action.
    Action(String),
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(scope) => write!(f, "the scope `{scope}`"),
            Self::Action(action) => write!(f, "the action `{action}`"),
        }
    }
}
