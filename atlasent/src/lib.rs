//! Execution-time authorization for AI agents. A sensitive action runs only with a verified permit,
//! and the compiler enforces it.
//!
//! An *agent* asks to perform an *action* on a *resource* in a *context*. An *authority* decides:
//! allow, deny, hold or escalate. An allow comes with a permit. The permit is verified, which uses
//! it up, before the action runs.
//!
//! ```
//! use atlasent::{Action, Error, Permit, protect};
//! # use atlasent::testing::MockAuthority;
//!
//! // The body runs only with a permit, which the attribute obtains. Callers pass none.
//! #[protect(action = "deploy.production", agent = "deploy-bot", context = { commit })]
//! async fn deploy(commit: &str) -> Result<(), Error> {
//!     println!("deploying {commit}");
//!     Ok(())
//! }
//!
//! // A typed action: the permit owns the values that the authority decided on.
//! #[derive(Action)]
//! #[action("modify_patient_record")]
//! struct ModifyPatientRecord {
//!     #[action(resource)]
//!     patient_id: String,
//!     change_reason: String,
//! }
//!
//! // Without the attribute, the parameter protects: only a permit for this action fits.
//! fn modify(permit: Permit<ModifyPatientRecord>) {
//!     let ModifyPatientRecord { patient_id, change_reason } = permit.into_action();
//!     println!("changing {patient_id}: {change_reason}");
//! }
//!
//! # futures_executor::block_on(async {
//! // Once, at start-up. Without an authority, every protected function refuses.
//! # let authority = MockAuthority::new().allow("deploy.production");
//! atlasent::configure(authority)?;
//! deploy("4f2a9c1").await?;
//! # Ok::<(), Error>(()) }).unwrap();
//! ```
//!
//! # Guarantees
//!
//! - A body runs only after an `allow` with a permit token *and* a verification that is valid, does
//!   not contradict itself, and names this agent and this action. Every other outcome is an
//!   [`Error`]. No feature, environment variable or option changes that.
//! - A [`Permit`] has no public constructor. It cannot be cloned, defaulted or deserialized, and
//!   the function that takes it by value uses it up. A [`Guarded`] value is reachable only with a
//!   permit.
//! - The values that are executed are the values that were authorized.
//! - Permit tokens never appear in `Debug` output, errors or traces.
//!
//! # Where to start
//!
//! | to | use |
//! |---|---|
//! | protect a function | [`macro@protect`], [`derive@Action`] |
//! | leave no method of a type unprotected | [`macro@boundary`] |
//! | check the code against the policies when it compiles | the crate `atlasent-build`, [`schema`] |
//! | have a struct for each action of the policies, or the policies in the program | [`include_actions!`], [`include_policies!`], [`schema_digest!`] |
//! | obtain a permit in code | [`AuthorityExt`]: `protect`, `with_permit`, `gate`, `authorize`; [`require_permit`](protected_action::require_permit) |
//! | protect code that is not async | `#[protect]` on a plain `fn`, or [`blocking`] |
//! | ask the AtlaSent service, or a server with the same API | [`Client`] (feature `client`, on by default), [`blocking::Client`] |
//! | decide by Cedar policies in this process, without account or network | the crate `atlasent-authority` |
//! | decide by your own rules | [`Authority`], with an [`Issuer`](authority::Issuer) or [`WithIssuer`](authority::WithIssuer) |
//! | record how protected bodies end | [`receipts`] |
//! | make a database or a client unreachable without a permit | [`Guarded`] |
//! | use a permit later, from a queue or a spawned task | [`Permit::require_active`], [`Permit::recheck`] |
//! | require an ATI scope first | `scope` and `claims` in [`macro@protect`], `Ask::scope` (feature `ati`); the crate `ati-client` |
//! | list the protected functions of a program | [`sites()`](fn@sites), `atlasent::testing::coverage` (feature `testing`) |
//! | test code that needs permits | `atlasent::testing` (feature `testing`) |
//! | verify a signed approval, or a quorum of approvals | [`approval`] (feature `approval`) |
//! | check an audit trail or a signed export | [`audit`](mod@audit) (feature `audit`, on by default) |
//!
//! Four items are called `protect`. They share one path and differ in how a caller reaches it: the
//! attribute [`macro@protect`] for functions, the method [`AuthorityExt::protect`] on an authority,
//! the function [`fn@protect`] for the same call without importing the trait, and
//! [`blocking::protect`] for code that is not async.
//!
//! Each request is a [`tracing`](https://docs.rs/tracing) span of the target `atlasent` with one
//! event for its outcome. Each execution emits one closing event.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod approval;
#[cfg(feature = "audit")]
pub mod audit;
pub mod authority;
pub mod blocking;
#[cfg(feature = "client")]
pub mod client;
pub mod coverage;
pub mod error;
pub mod permit;
pub mod protected_action;
pub mod receipts;
pub mod schema;
#[cfg(feature = "ati")]
pub mod scope;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod wire;

mod action;
mod agent;
mod canonical;
mod context;
mod decision;
mod embedded;
mod json;
mod private;
mod protect;
mod sites;
mod trace;
mod written;

pub use action::{Action, AnyAction, NamedAction};
pub use agent::{Agent, ToAgent};
pub use authority::{Authority, AuthorityExt, configure};
#[cfg(feature = "client")]
pub use client::Client;
pub use context::Context;
pub use decision::Decision;
pub use embedded::EmbeddedPolicies;
pub use error::{Denied, Error};
pub use permit::{Guarded, Permit};
pub use protect::protect;
pub use sites::{Site, Sites, sites};

/// Implements [`Action`](trait@Action) and [`NamedAction`] for a struct.
///
/// Every field becomes a field of the context unless it is marked `#[action(skip)]`. One field may
/// be marked as the resource.
///
/// ```
/// use atlasent::{Action, NamedAction};
///
/// #[derive(Action)]
/// #[action("wire.transfer")]
/// struct WireTransfer {
///     #[action(resource)]
///     account: String,
///     amount_cents: u64,
///     #[action(rename = "currency_code")]
///     currency: String,
///     #[action(skip)]
///     note_to_self: String,
/// }
///
/// let action = WireTransfer {
///     account: "DE-7".into(),
///     amount_cents: 250_00,
///     currency: "EUR".into(),
///     note_to_self: "ask Ada".into(),
/// };
/// assert_eq!(WireTransfer::NAME, "wire.transfer");
/// assert_eq!(action.resource().as_deref(), Some("DE-7"));
/// assert_eq!(
///     action.context()?.canonical_json(),
///     r#"{"account":"DE-7","amount_cents":25000,"currency_code":"EUR"}"#,
/// );
/// # Ok::<(), atlasent::Error>(())
/// ```
pub use atlasent_macros::Action;

/// Checks that the fields of a struct are the keys of a record in the package's policies.
///
/// `#[record("action", "key")]` names the record. In a package whose build script calls
/// `atlasent_build::policies`, the struct fits where the action has that record in its context.
///
/// ```
/// use atlasent::PolicyRecord;
///
/// #[derive(serde::Serialize, PolicyRecord)]
/// #[record("site.visit", "client")]
/// struct Client {
///     ip: std::net::IpAddr,
/// }
/// ```
pub use atlasent_macros::PolicyRecord;

/// Requires that each method of an `impl` or a `trait` is protected, or says why it is not.
///
/// ```
/// use atlasent::{Error, boundary, protect, testing::MockAuthority};
///
/// struct Bank {
///     authority: MockAuthority,
/// }
///
/// #[boundary(authority = self.authority, agent = "teller")]
/// impl Bank {
///     #[protect(action = "wire.transfer", context = { amount })]
///     pub fn transfer(&self, amount: u64) -> Result<u64, Error> {
///         Ok(amount)
///     }
///
///     #[open("the name of the bank is public")]
///     pub fn name(&self) -> &'static str {
///         "Bank"
///     }
/// }
///
/// let bank = Bank { authority: MockAuthority::new() };
/// assert_eq!(bank.name(), "Bank");
/// assert!(bank.transfer(5).is_err());
/// ```
pub use atlasent_macros::boundary;

/// Runs the body of a function only with a permit, and returns the refusal otherwise.
///
/// ```
/// use atlasent::{Action, Error, Permit, protect, testing::MockAuthority};
///
/// struct Cluster {
///     authority: MockAuthority,
/// }
///
/// impl Cluster {
///     #[protect(
///         action = "deploy.production",
///         agent = agent,
///         resource = "cluster-7",
///         context = { commit, replicas: replicas.max(1) },
///         authority = self.authority,
///         request = |options| options.environment("production"),
///     )]
///     async fn deploy(&self, agent: &str, commit: &str, replicas: u32, permit: Permit) -> Result<String, Error> {
///         let action = permit.into_action();
///         Ok(format!("{}: {commit} on {replicas} replicas", action.name()))
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let cluster = Cluster { authority: MockAuthority::new().allow("deploy.production") };
/// // The attribute passes the permit: `permit` is no parameter for callers.
/// let answer = cluster.deploy("deploy-bot", "4f2a9c1", 3).await?;
/// assert_eq!(answer, "deploy.production: 4f2a9c1 on 3 replicas");
///
/// let closed = Cluster { authority: MockAuthority::new().deny("deploy.production", "freeze") };
/// let refusal = closed.deploy("deploy-bot", "4f2a9c1", 3).await.unwrap_err();
/// assert_eq!(refusal.denied().unwrap().reason(), "freeze");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
pub use atlasent_macros::protect;

// `__private_X_Y_Z`, named by `build.rs` after the version: the path by which expansions reach
// `private.rs`.
include!(concat!(env!("OUT_DIR"), "/private.rs"));

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
