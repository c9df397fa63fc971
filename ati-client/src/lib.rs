//! ATI tokens: who an AI agent is, which tools it may use, for how long and how often.
//!
//! ATI (Agent Tools Interface) gives an agent's sandbox one credential, a JWT. An *orchestrator*
//! issues it, and a verifier in front of the tools checks it: ATI's proxy, or a service with this
//! crate.
//!
//! From a secret to an agent's sandbox:
//!
//! ```no_run
//! use ati_client::{Orchestrator, Sandbox, SigningKey};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let key = SigningKey::from_env()?; // ATI_JWT_SECRET: `openssl rand -hex 32` makes one
//!     let orchestrator = Orchestrator::new("https://ati.example.com", key)?;
//!     let sandbox = Sandbox::new("agent-7").tools(["web_search", "github:*"]).skill("research-*");
//!     let mut agent = std::process::Command::new("my-agent");
//!     orchestrator.provision_sandbox(&sandbox)?.apply_to(&mut agent).spawn()?;
//!     Ok(())
//! }
//! ```
//!
//! And on the other side:
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
//! # What holds
//!
//! - The key fixes how a token is signed; a token has no say in it. A key that is configured and
//!   cannot be used is an error, and no configuration turns verification off.
//! - A verifier takes several keys, so that a key can be replaced while tokens of the old one live.
//! - [`Claims`] come from a verified token, or from the program that built them. The claims of any
//!   other token are [`Unverified`], which nothing that grants access accepts.
//! - A token in which anything is written twice, in another way than usual, or of another type than
//!   expected, is refused.
//! - Secrets are wiped when they are dropped. Keys and tokens never show in `Debug` or in an
//!   [`Error`], and text from outside is escaped wherever it is displayed.
//!
//! # Where to go
//!
//! | you want to | see |
//! |---|---|
//! | start an agent with a token | [`Orchestrator`], [`Sandbox`] |
//! | issue any token | [`Claims::builder`], [`issue`] |
//! | verify tokens | [`Verifier`]; [`VerifiedCache`] makes it cheaper, [`ReplayGuard`] stricter |
//! | replace a key | [`Verifier`](Verifier#several-keys), [`VerifyingKey::from_pem_directory`] |
//! | know what a token grants | [`Scopes::grants`], [`check_scope`] |
//! | hold agents to their rates | [`RateLimiter`] |
//! | look into a token without a key | [`inspect`] |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod claims;
mod clock;
mod crypto;
mod env;
mod error;
mod header;
mod json;
mod jws;
mod key;
mod key_file;
mod limiter;
mod memory_rates;
mod orchestrator;
mod payload;
mod pem;
mod rate;
mod read;
mod redact;
mod replay;
mod scope;
mod secret;
mod unverified;
mod verifier;

pub use cache::VerifiedCache;
pub use claims::{Claims, ClaimsBuilder, issue};
pub use crypto::Algorithm;
pub use error::Error;
pub use jws::MAX_TOKEN_BYTES;
pub use key::{SigningKey, VerifyingKey};
pub use limiter::{RateLimiter, RateStore, RateWindow};
pub use memory_rates::MemoryRates;
pub use orchestrator::{Orchestrator, Sandbox, SandboxEnv};
pub use payload::Payload;
pub use rate::{RateSpec, Unit};
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
