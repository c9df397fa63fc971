//! The arguments of `#[protect]` run without a permit. Their calls are refused, and those of the
//! bodies are accepted.

use ati_client::Claims;
use atlasent::testing::MockAuthority;
use atlasent::{Action, boundary, protect};

use crate::bodies::Launched;
use crate::launch;

/// A typed action.
#[derive(Action, Debug)]
#[action("launch")]
pub struct Launch {
    program: &'static str,
}

/// Calls in every argument of a literal action.
///
/// # Errors
///
/// The refusal.
#[protect(
    action = "launch",
    agent = launch("bot"), // refused
    resource = launch("pad"), // refused
    context = {
        program: launch("true"), // refused
    },
    authority = {
        let _ = launch("true"); // refused
        authority
    },
    request = |request| request.environment(launch("production")), // refused
    scope = launch("tool:launch"), // refused
    claims = {
        let _ = launch("true"); // refused
        claims
    },
)]
#[cfg_attr(
    feature = "expected",
    expect(clippy::disallowed_methods, reason = "in arguments")
)]
pub async fn literal(authority: &MockAuthority, claims: &Claims) -> Launched {
    Ok(launch("true"))
}

/// Calls in a typed action, of a sync function.
///
/// # Errors
///
/// The refusal.
#[protect(
    action = Launch { program: launch("true") }, // refused
    agent = "bot",
)]
#[cfg_attr(
    feature = "expected",
    expect(clippy::disallowed_methods, reason = "in arguments")
)]
pub fn typed() -> Launched {
    Ok(launch("true"))
}

/// A context that is one expression.
///
/// # Errors
///
/// The refusal.
#[protect(
    action = "launch",
    agent = "bot",
    context = [("program", launch("true"))].into_iter().collect::<std::collections::BTreeMap<_, _>>(), // refused
)]
#[cfg_attr(
    feature = "expected",
    expect(clippy::disallowed_methods, reason = "in arguments")
)]
pub fn computed() -> Launched {
    Ok(launch("true"))
}

/// Has a default argument.
#[derive(Debug)]
pub struct Pad {
    authority: MockAuthority,
}

#[boundary(
    authority = self.authority,
    agent = launch("bot"), // refused
)]
#[cfg_attr(
    feature = "expected",
    expect(clippy::disallowed_methods, reason = "in arguments")
)]
impl Pad {
    /// Takes the default.
    ///
    /// # Errors
    ///
    /// The refusal.
    #[protect(action = "launch")]
    pub fn launch(&self) -> Launched {
        Ok(launch("true"))
    }
}
