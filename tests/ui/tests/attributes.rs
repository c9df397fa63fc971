//! `#[protect]` among other attributes, on the function and on its parameters.
#![deny(warnings)]

mod support;

use async_trait::async_trait;
use atlasent::testing::MockAuthority;
use atlasent::{Error, Permit, protect};
use futures_executor::block_on;
use support::{asked, refused};
use tracing::instrument;

/// Documented.
#[instrument(skip(authority), fields(commit = %commit))]
#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
async fn protect_inside_instrument(
    authority: &MockAuthority,
    commit: &str,
    permit: Permit,
) -> Result<String, Error> {
    tracing::info!("inside");
    Ok(format!("{commit} by {}", permit.agent()))
}

#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
#[instrument(skip(authority), err)]
async fn instrument_inside_protect(
    authority: &MockAuthority,
    commit: &str,
    permit: Permit,
) -> Result<String, Error> {
    Ok(format!("{commit} by {}", permit.agent()))
}

#[instrument(skip_all, ret)]
#[protect(action = "deploy", agent = "bot", authority = authority)]
fn protect_inside_instrument_sync(
    authority: &MockAuthority,
    mut permit: Permit,
) -> Result<String, Error> {
    permit = std::convert::identity(permit);
    Ok(permit.agent().to_string())
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
#[instrument(skip_all)]
fn instrument_inside_protect_sync(
    authority: &MockAuthority,
    permit: Permit,
) -> Result<String, Error> {
    Ok(permit.agent().to_string())
}

#[async_trait]
trait Deploy {
    async fn first(&self, commit: &str) -> Result<String, Error>;
    async fn second(&self, commit: &str) -> Result<String, Error>;
}

#[async_trait]
impl Deploy for MockAuthority {
    #[instrument(skip(self))]
    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = self)]
    async fn first(&self, commit: &str, mut permit: Permit) -> Result<String, Error> {
        permit = std::convert::identity(permit);
        Ok(format!("{commit} by {}", permit.agent()))
    }

    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = self)]
    #[instrument(skip(self))]
    async fn second(&self, commit: &str, permit: Permit) -> Result<String, Error> {
        Ok(format!("{commit} by {}", permit.agent()))
    }
}

#[protect(
    action = "deploy",
    agent = "bot",
    context = { present },
    authority = authority,
)]
#[cfg(all())]
#[must_use]
#[inline]
#[allow(clippy::needless_pass_by_value)]
async fn with_cfg(
    authority: &MockAuthority,
    #[cfg(any())] absent: NoSuchType,
    #[cfg(all())] present: u8,
    #[allow(unused)] unused: u8,
    #[cfg(any())] permit: Permit<NoSuchAction>,
) -> Result<u8, Error> {
    Ok(present)
}

#[cfg(any())]
#[protect(action = "deploy", agent = "bot", authority = authority)]
fn with_cfg(absent: NoSuchType) -> NoSuchResult {}

#[protect(action = "deploy", agent = "bot", authority = authority)]
#[cfg_attr(all(), allow(unused_variables))]
fn with_cfg_attr(
    authority: &MockAuthority,
    unused: u8,
    #[cfg(all())] permit: Permit,
) -> Result<u8, Error> {
    let unused_too = permit;
    Ok(3)
}

#[expect(unused_variables, reason = "a lint level reaches the body")]
#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn with_expect(authority: &MockAuthority, permit: Permit) -> Result<(), Error> {
    Ok(())
}

#[test]
fn other_attributes_stay_in_force() {
    let yes = &MockAuthority::new().allow("deploy");
    let no = &MockAuthority::new();
    let both_async = |authority| {
        [
            block_on(protect_inside_instrument(authority, "4f2a")),
            block_on(instrument_inside_protect(authority, "4f2a")),
            block_on(authority.first("4f2a")),
            block_on(authority.second("4f2a")),
        ]
    };
    let both_sync = |authority| {
        [
            protect_inside_instrument_sync(authority),
            instrument_inside_protect_sync(authority),
        ]
    };

    // With a subscriber, so that the spans are enabled.
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        assert!(
            both_async(yes)
                .into_iter()
                .all(|result| result.unwrap() == "4f2a by bot")
        );
        assert_eq!(asked(yes)["context"]["commit"], "4f2a");
        assert!(
            both_sync(yes)
                .into_iter()
                .all(|result| result.unwrap() == "bot")
        );
        assert!(both_async(no).into_iter().chain(both_sync(no)).all(refused));
    });

    assert_eq!(block_on(with_cfg(yes, 2, 0)).unwrap(), 2);
    assert_eq!(asked(yes)["context"]["present"], 2);
    assert_eq!(with_cfg_attr(yes, 0).unwrap(), 3);
    block_on(with_expect(yes)).unwrap();
}
