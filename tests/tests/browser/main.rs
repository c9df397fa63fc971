//! The console in a browser: headless Chromium, driven by chromedriver. Without them, the tests are
//! passed over, unless `ATLASENT_REQUIRE_CHROMIUM` is 1.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod access;
mod approving;
mod hostile;
mod issuer;
mod look;
mod screenshots;
mod support;
