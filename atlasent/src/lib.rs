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
//! | ask in your own words | [`fn@protect`], and [`AuthorityExt`]: `with_permit`, `gate`, `authorize`; [`require_permit`] |
//! | call from code that is not async | [`blocking`], or `#[protect]` on a plain `fn` |
//! | ask the AtlaSent service, or another server with its API | [`Client`] (feature `client`, on by default), [`blocking::Client`] |
//! | decide by policy, in process, with no account and no network | the crate `atlasent-authority` |
//! | decide in your own way | [`Authority`], with an [`Issuer`] or [`WithIssuer`] |
//! | let a permit reach a database or a client, and nothing else | [`Guarded`] |
//! | use a permit late, from a queue or a spawned task | [`Permit::require_active`], [`Permit::recheck`] |
//! | ask for an ATI scope first | `scope` and `claims` in [`macro@protect`], `Ask::scope` (feature `ati`); the crate `ati-client` |
//! | test code that needs permits | `atlasent::testing` (feature `testing`) |
//! | check an audit trail or a signed export | [`audit`](mod@audit) (feature `audit`, on by default) |
//!
//! Everything on the way to a permit is told to [`tracing`](https://docs.rs/tracing) under the
//! target `atlasent`: a span for each request, an event for its outcome, and one closing event for
//! each execution.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "audit")]
pub mod audit;
pub mod blocking;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "testing")]
pub mod testing;

mod action;
mod agent;
mod approval;
mod ask;
mod authority;
mod canonical;
mod checks;
mod classify;
mod config;
mod constraint;
mod context;
mod decision;
mod denied;
mod error;
mod escape;
mod evaluate;
mod execution;
mod expiry;
mod guarded;
mod issuer;
mod object;
mod options;
mod other;
mod permit;
mod permit_info;
mod private;
mod protect;
mod rate_limit;
mod redact;
mod request;
mod require_permit;
mod revocation;
mod run;
#[cfg(feature = "ati")]
mod scope;
mod sent_as;
mod stop_scope;
mod token;
mod trace;
mod unescape;
mod unique;
mod value;
mod verify;
mod written;

pub use action::{Action, AnyAction, NamedAction};
pub use agent::{Agent, ToAgent};
pub use approval::{
    Approval, ApprovalArtifact, ApprovalIssuer, ApprovalQuorum, ApprovalReviewer, CompletionProof,
    EmergencyOverride, EvaluationProfile, IdentityAssertion, IdentityBinding, IdentitySubject,
    PrincipalKind, QuorumIndependence, QuorumPolicy, RoleRequirement,
};
pub use ask::{Ask, Authorization};
pub use authority::{Authority, AuthorityExt, DynAuthority};
pub use canonical::{execution_hash, execution_hash_of_text};
pub use checks::issuer_of;
pub use classify::{DESTRUCTIVE_COMMAND, classify_command};
#[cfg(feature = "client")]
pub use client::{Client, ClientBuilder};
pub use config::{configure, default_authority};
pub use constraint::{ConstraintTrace, PolicyTrace, StageTrace};
pub use context::Context;
pub use decision::Decision;
pub use denied::{Denied, PermitOutcome};
pub use error::{Code, Error, Failure};
pub use escape::Escaped;
pub use evaluate::Evaluation;
pub use execution::Execution;
pub use guarded::{Guarded, Opened};
pub use issuer::{Issuer, IssuerId, WithIssuer};
pub use options::RequestOptions;
pub use other::OtherFields;
pub use permit::{Permit, PermitRecord};
pub use permit_info::{PermitInfo, PermitStatus};
pub use protect::{Gate, protect};
pub use rate_limit::RateLimit;
pub use request::EvaluateRequest;
pub use require_permit::{ProtectedAction, require_permit};
pub use revocation::Revocation;
#[cfg(feature = "ati")]
pub use scope::HasClaims;
pub use stop_scope::StopScope;
pub use token::PermitToken;
pub use verify::{Verification, VerifyRequest};
pub use written::WrittenNumbers;

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

// `__private_X_Y_Z`, named by `build.rs` after the version: the path by which expansions reach
// `private.rs`.
include!(concat!(env!("OUT_DIR"), "/private.rs"));

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
