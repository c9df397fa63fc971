//! The embedded AtlaSent authority: [Cedar](https://www.cedarpolicy.com) policies decide, a ledger
//! keeps the permits, and a hash chain records everything, all in this process. No account, no
//! network.
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
//! // Everything is on record, and the record can be checked.
//! let trail = authority.trail().await?;
//! assert!(trail.verify().is_intact());
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! [`Policies`] says what a policy sees and how `hold` and `escalate` come about.
//!
//! Permits and the chain are kept in memory, unless the builder is given another [`Store`]:
//! `RedbStore` (feature `redb`) keeps them in one file, `PostgresStore` (feature `postgres`) in a
//! database that several processes share.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod archive;
mod builder;
mod caller;
mod chain;
mod clock;
mod complete;
mod current;
mod evaluate;
#[cfg(feature = "server")]
mod event_types;
mod export;
mod fields;
mod files;
mod head_file;
#[cfg(feature = "server")]
mod keys;
mod ledger;
mod local;
mod outstanding;
mod permit_key;
mod permits;
mod policy;
mod record;
mod replay;
mod revoke;
#[cfg(feature = "server")]
pub mod server;
mod signing;
mod standing;
mod stop;
mod stops;
mod store;
mod verify;

pub use archive::Archived;
pub use builder::LocalAuthorityBuilder;
pub use caller::Caller;
pub use chain::{ChainHead, Fact, NewEvent, SealedEvent};
pub use clock::{Clock, SystemClock};
pub use evaluate::Answer;
#[cfg(feature = "server")]
pub use event_types::EVENT_TYPES;
pub use export::{Bundle, BundleWriter, export};
pub use fields::{check_fields, parse_amount};
pub use files::replace_file;
pub use head_file::{HeadFile, HeadFileError};
#[cfg(feature = "server")]
pub use keys::{
    ApiKey, DEFAULT_RATE_LIMIT, Environment, GivenKeyError, KeyDigest, KeyFile, KeyFileError,
    KnownKeys, Scope, UnknownScope,
};
pub use ledger::{Grant, Mismatch, PermitEntry, PermitState, Refusal, Revoked};
pub use local::LocalAuthority;
pub use outstanding::{AgentKey, Outstanding};
pub use permit_key::{NotAPermitId, PermitId, PermitKey};
pub use permits::{PermitFilter, PermitPage};
pub use policy::{Explanation, Policies, PoliciesBuilder, PolicyError, PolicyProblem};
pub use replay::{Replay, ReplayKey};
pub use signing::{KeyRing, PublicKey, SigningKey, SigningKeyError, signed_head};
pub use stops::{Stop, Stops};
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "redb")]
pub use store::RedbStore;
#[cfg(any(feature = "redb", feature = "postgres"))]
pub use store::StoreReport;
pub use store::{
    Batch, Cell, CellKey, Draft, EventFilter, MemoryStore, RateCounter, Store, StoreError,
    StoreStatus,
};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
