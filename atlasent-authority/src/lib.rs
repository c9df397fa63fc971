//! The embedded AtlaSent authority. [Cedar](https://www.cedarpolicy.com) policies decide, a ledger
//! keeps the permits, and a hash chain records every decision, all in this process. It needs no
//! account and no network.
//!
//! ```
//! use atlasent::{AnyAction, AuthorityExt, Decision};
//! use atlasent_authority::{LocalAuthority, Policies};
//!
//! # futures_executor::block_on(async {
//! let policies = Policies::parse(r#"
//!     permit (principal == Agent::"deploy-bot", action == Action::"deploy.production", resource);
//!
//!     @decision("hold")
//!     @reason("a person releases big rollouts")
//!     forbid (principal, action == Action::"deploy.production", resource)
//!     when { context.replicas > 50 };
//! "#)?;
//! let authority = LocalAuthority::in_memory(policies)?;
//!
//! let deploy = |replicas: i64| AnyAction::new("deploy.production")?.with_field("replicas", &replicas);
//! let permit = authority.protect("deploy-bot", deploy(3)?).await?;
//! println!("{permit:?}");
//!
//! let refusal = authority.protect("deploy-bot", deploy(500)?).await.unwrap_err();
//! assert_eq!(refusal.denied().unwrap().decision(), Decision::Hold);
//!
//! // The audit trail records each decision, and its hash chain can be verified.
//! let trail = authority.trail().await?;
//! assert!(trail.verify().is_intact());
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! [`Policies`] documents what a policy sees and which annotations produce `hold` and `escalate`.
//!
//! Permits and the chain are kept in memory by default ([`MemoryStore`]). The builder takes any
//! other [`Store`](store::Store): `RedbStore` (feature `redb`) keeps them in one file,
//! `PostgresStore` (feature `postgres`) in a database that several processes share.
//!
//! | module | holds |
//! |---|---|
//! | [`approvals`] | people who release what policies hold |
//! | [`policy`] | loading, explaining and linting policies |
//! | [`permits`] | listing the ledger's permits, and looking them up by public id |
//! | [`trail`] | filters, signed exports and retention of the audit trail |
//! | [`signing`] | the Ed25519 keys that sign exports |
//! | [`store`] | the `Store` trait, and the types that an implementation needs |
//! | [`files`] | replacing a private file safely |
//! | [`duration`] | durations as people write them |
//! | `sealing` | encryption of what approvers see, with the operator's keys (feature `sealing`) |
//! | `server`, `keys`, `organizations` | the HTTP API, its API keys and its organizations (feature `server`) |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod approvals;
pub mod duration;
pub mod files;
#[cfg(feature = "server")]
pub mod keys;
#[cfg(feature = "server")]
pub mod organizations;
pub mod permits;
pub mod policy;
#[cfg(feature = "sealing")]
pub mod sealing;
#[cfg(not(feature = "sealing"))]
mod sealing;
#[cfg(feature = "server")]
pub mod server;
pub mod signing;
pub mod store;
pub mod trail;

mod clock;
#[cfg(feature = "server")]
mod json_file;
mod ledger;
mod local;
#[cfg(any(feature = "postgres", feature = "redb", feature = "server"))]
mod recent_orgs;
#[cfg(any(feature = "postgres", feature = "redb", feature = "server"))]
mod share;

pub use clock::{Clock, SystemClock};
pub use ledger::{ReceiptRefusal, Stop};
pub use local::{
    Caller, EvaluateOutcome, LocalAuthority, LocalAuthorityBuilder, SchemaMismatch, StorageLimit,
};
pub use policy::Policies;
pub use store::MemoryStore;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "redb")]
pub use store::RedbStore;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
