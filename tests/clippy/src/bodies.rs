//! Protected bodies of every kind. Their calls are accepted.

use std::fmt::Display;
use std::pin::Pin;
use std::process::Command;

use async_trait::async_trait;
use atlasent::testing::MockAuthority;
use atlasent::{Action, Error, Permit, boundary, protect};

use crate::launch;

/// What a protected function returns.
pub type Launched = Result<&'static str, Error>;

/// A typed action.
#[derive(Action, Debug)]
#[action("launch")]
pub struct Launch;

/// Is sync.
///
/// # Errors
///
/// The refusal.
#[protect(action = "launch", agent = "bot")]
pub fn sync() -> Launched {
    drop(Command::new("true"));
    Ok(launch("true"))
}

/// Is async, with a permit.
///
/// # Errors
///
/// The refusal.
#[protect(action = Launch, agent = "bot")]
pub async fn asynchronous(permit: Permit<Launch>) -> Launched {
    drop(tokio::fs::remove_file("gone"));
    drop(permit);
    Ok(launch("true"))
}

/// Is generic.
///
/// # Errors
///
/// The refusal.
#[protect(action = "launch", agent = "bot", resource = target)]
pub async fn generic<T: Display + Send + Sync>(target: T) -> Launched {
    let run = || launch("true");
    drop(target);
    Ok(run())
}

/// Returns a boxed future.
#[protect(action = "launch", agent = "bot")]
#[must_use]
pub fn boxed() -> Pin<Box<dyn Future<Output = Launched>>> {
    Box::pin(async move { Ok(launch("true")) })
}

/// Returns a future.
#[protect(action = "launch", agent = "bot")]
pub fn implied() -> impl Future<Output = Launched> {
    async move { Ok(launch("true")) }
}

/// Has protected default bodies.
pub trait Launcher {
    /// Is sync.
    ///
    /// # Errors
    ///
    /// The refusal.
    #[protect(action = "launch", agent = "bot")]
    fn launch(&self) -> Launched {
        Ok(launch("true"))
    }

    /// Is implemented below.
    fn launch_later(&self) -> impl Future<Output = Launched> + Send;
}

/// Launches.
#[derive(Debug)]
pub struct Pad {
    authority: MockAuthority,
}

impl Launcher for Pad {
    #[protect(action = "launch", agent = "bot", authority = self.authority)]
    async fn launch_later(&self) -> Launched {
        Ok(launch("true"))
    }
}

/// Has methods that a macro turns into boxed futures.
#[async_trait]
pub trait BoxedLauncher {
    /// Is protected where it is implemented.
    ///
    /// # Errors
    ///
    /// The refusal.
    async fn launch_boxed(&self, target: &str) -> Launched;
}

#[async_trait]
impl BoxedLauncher for Pad {
    #[protect(action = "launch", agent = "bot", authority = self.authority, resource = target)]
    async fn launch_boxed(&self, target: &str) -> Launched {
        Ok(launch("true"))
    }
}

#[boundary(authority = self.authority, agent = "bot")]
impl Pad {
    /// Is a method of a boundary.
    ///
    /// # Errors
    ///
    /// The refusal.
    #[protect(action = "launch")]
    pub fn now(&self) -> Launched {
        Ok(launch("true"))
    }

    /// Needs no permit, so the call stays refused.
    #[open("shows that an open method is not protected")]
    #[cfg_attr(
        feature = "expected",
        expect(clippy::disallowed_methods, reason = "outside of protected code")
    )]
    pub fn openly(&self) -> &'static str {
        launch("true") // refused
    }
}

/// A boundary on a trait.
#[boundary(front = Station, authority = self.authority(), agent = "bot")]
pub trait StationBackend {
    /// Names the authority.
    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority;

    /// Moves to the front.
    ///
    /// # Errors
    ///
    /// The refusal.
    #[protect(action = Launch)]
    fn go(&self, permit: Permit<Launch>) -> Launched {
        drop(permit);
        Ok(launch("true"))
    }
}

/// Keeps all other lints in the body.
///
/// # Errors
///
/// The refusal.
#[protect(action = "launch", agent = "bot")]
#[cfg_attr(
    feature = "expected",
    expect(clippy::bool_comparison, reason = "shows that the lint is on")
)]
pub fn other_lints(is_ready: bool) -> Launched {
    let is_go = is_ready == true; // other
    Ok(if is_go { launch("true") } else { "" })
}
