//! ATI tokens: who an AI agent is, which tools it may use, for how long and how often.
//!
//! ATI (Agent Tools Interface) gives an agent's sandbox one credential, a JWT. An *orchestrator*
//! issues the token. A verifier in front of the tools checks it: ATI's proxy, or a service that
//! uses this crate.
//!
//! An orchestrator issues a token for a sandbox:
//!
//! ```no_run
//! use ati_client::{Orchestrator, Sandbox, SigningKey};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let key = SigningKey::from_env()?; // ATI_JWT_SECRET, made by `openssl rand -hex 32`
//!     let orchestrator = Orchestrator::new("https://ati.example.com", key)?;
//!     let sandbox = Sandbox::new("agent-7").tools(["web_search", "github:*"]).skill("research-*");
//!     let mut agent = std::process::Command::new("my-agent");
//!     orchestrator.provision_sandbox(&sandbox)?.apply_to(&mut agent).spawn()?;
//!     Ok(())
//! }
//! ```
//!
//! A service verifies it:
//!
//! ```no_run
//! use ati_client::{Error, Verifier};
//!
//! fn may_search(verifier: &Verifier, bearer_token: &str) -> Result<bool, Error> {
//!     let claims = verifier.verify(bearer_token)?;
//!     claims.scopes().grants("tool:github:search")
//! }
//!
//! let verifier = Verifier::from_env()?; // once, at start-up
//! # Ok::<(), Error>(())
//! ```
//!
//! # Guarantees
//!
//! - The key determines the algorithm, never the token. A configured key that is not usable is an
//!   error, and no configuration turns verification off.
//! - A verifier accepts several keys, so that a key can be replaced while its tokens are still
//!   valid.
//! - [`Claims`] come from a verified token, or from the program that built them. The claims of an
//!   unverified token are [`Unverified`], which no function that grants access accepts.
//! - A token with a repeated claim, an unusual encoding or a value of the wrong type is refused.
//! - Secrets are wiped when they are dropped. `Debug` and [`Error`] never show keys or tokens, and
//!   text from outside is escaped wherever it is displayed.
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | start an agent with a token | [`Orchestrator`], [`Sandbox`] |
//! | issue any token | [`Claims::builder`], [`issue`] |
//! | exchange an agent's token for a narrower one of a sub-agent | [`delegate`] |
//! | verify tokens | [`Verifier`], with a [`VerifiedCache`] for speed, a [`ReplayGuard`] for single use |
//! | replace a key | [`Verifier`](Verifier#several-keys), [`VerifyingKey::from_pem_directory`] |
//! | check a scope | [`Scopes::grants`], [`check_scope`] |
//! | enforce rates | [`RateLimiter`] |
//! | read a token without a key | [`inspect`] |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod claims;
mod claims_set;
mod clock;
mod crypto;
mod delegation;
mod env;
mod error;
mod escape;
mod header;
mod json;
mod jws;
mod key;
mod key_file;
mod limiter;
mod memory_rates;
mod orchestrator;
mod pem;
mod rate;
mod rate_store;
mod registered;
mod replay;
mod scope;
mod secret;
mod unverified;
mod verifier;

pub use cache::VerifiedCache;
pub use claims::{Claims, ClaimsBuilder, issue};
pub use claims_set::ClaimsSet;
pub use crypto::Algorithm;
pub use delegation::{DelegateBuilder, MAX_ACTORS, delegate};
pub use error::Error;
pub use jws::MAX_TOKEN_BYTES;
pub use key::{SigningKey, VerifyingKey};
pub use limiter::RateLimiter;
pub use memory_rates::MemoryRates;
pub use orchestrator::{Orchestrator, Sandbox, SandboxEnv};
pub use rate::{RateSpec, RateUnit};
pub use rate_store::{RateStore, RateWindow};
pub use replay::ReplayGuard;
pub use scope::{
    Scopes, build_scope_string, check_scope, is_loose_wildcard, matches_wildcard, parse_scopes,
};
pub use unverified::{Unverified, inspect};
pub use verifier::{MAX_LEEWAY, Verifier, VerifierBuilder};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
