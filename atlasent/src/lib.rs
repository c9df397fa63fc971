//! Execution-time authorization for AI agents: no sensitive action without a verified permit, and
//! the compiler sees to it.
//!
//! An *agent* asks to perform an *action* on a *resource* in a *context*. An *authority* decides:
//! allow, deny, hold or escalate. An allow comes with a permit, which is verified, and so used up,
//! before the action runs.
//!
//! ```
//! use atlasent::{Action, Error, Permit, protect};
//! # use atlasent::testing::MockAuthority;
//!
//! // The body runs only with a permit. Callers cannot bring one of their own.
//! #[protect(action = "deploy.production", agent = "deploy-bot", context = { commit })]
//! async fn deploy(commit: &str) -> Result<(), Error> {
//!     println!("deploying {commit}");
//!     Ok(())
//! }
//!
//! // A typed action: the permit owns the values that were decided on, and the body reads them from it.
//! #[derive(Action)]
//! #[action("modify_patient_record")]
//! struct ModifyPatientRecord {
//!     #[action(resource)]
//!     patient_id: String,
//!     change_reason: String,
//! }
//!
//! // No attribute, and still: without a permit for exactly this action, it cannot be called.
//! fn modify(permit: Permit<ModifyPatientRecord>) {
//!     println!("changing {}: {}", permit.patient_id, permit.change_reason);
//! }
//!
//! # futures_executor::block_on(async {
//! // Once, at start-up. Without an authority, everything protected is refused.
//! # let authority = MockAuthority::new().allow("deploy.production");
//! atlasent::configure(authority)?;
//! deploy("4f2a9c1").await?;
//! # Ok::<(), Error>(()) }).unwrap();
//! ```
//!
//! # What holds, whatever happens
//!
//! - A body runs only after an `allow` with a permit token *and* a verification that is valid,
//!   agrees with itself, and names this agent and this action. Every other outcome is an [`Error`]:
//!   there is no third way, and no feature, variable or option that makes one.
//! - A [`Permit`] has no public constructor, cannot be cloned, defaulted or deserialized, and is
//!   spent by the function that takes it. [`Guarded`] locks a value away that only a permit
//!   reaches.
//! - The values that are executed are the values that were authorized.
//! - Permit tokens never show in `Debug`, errors or traces.
//!
//! # Where to go
//!
//! | you want to | see |
//! |---|---|
//! | annotate functions | [`macro@protect`], [`derive@Action`] |
//! | ask in your own words | [`fn@protect`], and [`AuthorityExt`]: `with_permit`, `gate`, `authorize`; [`require_permit`](protected_action::require_permit) |
//! | call from code that is not async | [`blocking`], or `#[protect]` on a plain `fn` |
//! | ask the AtlaSent service, or another server with its API | [`Client`] (feature `client`, on by default), [`blocking::Client`] |
//! | decide by policy, in process, with no account and no network | the crate `atlasent-authority` |
//! | decide in your own way | [`Authority`], with an [`Issuer`](authority::Issuer) or [`WithIssuer`](authority::WithIssuer) |
//! | let a permit reach a database or a client, and nothing else | [`Guarded`] |
//! | use a permit late, from a queue or a spawned task | [`Permit::require_active`], [`Permit::recheck`] |
//! | ask for an ATI scope first | `scope` and `claims` in [`macro@protect`], `Ask::scope` (feature `ati`); the crate `ati-client` |
//! | test code that needs permits | `atlasent::testing` (feature `testing`) |
//! | check an audit trail or a signed export | [`audit`](mod@audit) (feature `audit`, on by default) |
//!
//! Everything on the way to a permit is told to [`tracing`](https://docs.rs/tracing) under the
//! target `atlasent`: a span for each request, an event for its outcome, and one closing event for
//! each execution.

pub mod approval;
#[cfg(feature = "audit")]
pub mod audit;
pub mod authority;
pub mod blocking;
#[cfg(feature = "client")]
pub mod client;
pub mod error;
pub mod permit;
pub mod protected_action;
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
mod json;
mod protect;
mod trace;
mod written;

pub use action::{Action, AnyAction, NamedAction};
pub use agent::{Agent, ToAgent};
pub use authority::{Authority, AuthorityExt, configure};
#[cfg(feature = "client")]
pub use client::Client;
pub use context::Context;
pub use decision::Decision;
pub use error::{Denied, Error};
pub use permit::{Guarded, Permit};
pub use protect::protect;

/// Implements [`Action`](trait@Action) and [`NamedAction`] for a struct.
///
/// Every field goes into the context unless it is marked `#[action(skip)]`. One field may be the
/// resource.
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

/// Lets the body of a function run only with a permit.
///
/// ```
/// use atlasent::{AuthorityExt, Error, Permit, protect, testing::MockAuthority};
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
///         Ok(format!("{commit} on {replicas}, as {} allowed", permit.agent()))
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let cluster = Cluster { authority: MockAuthority::new().allow("deploy.production") };
/// // The parameter `permit` is gone from the signature: the attribute fills it in.
/// let answer = cluster.deploy("deploy-bot", "4f2a9c1", 3).await?;
/// assert_eq!(answer, "4f2a9c1 on 3, as deploy-bot allowed");
///
/// let closed = Cluster { authority: MockAuthority::new().deny("deploy.production", "freeze") };
/// let refusal = closed.deploy("deploy-bot", "4f2a9c1", 3).await.unwrap_err();
/// assert_eq!(refusal.denied().unwrap().reason(), "freeze");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
pub use atlasent_macros::protect;

// The name holds the patch version, and the macros' expansions lead here by it.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private0;
