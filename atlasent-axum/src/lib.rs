//! Permits for [axum]: extractors, and a router that nothing gets past.
//!
//! ```
//! # use ati_client::{SigningKey, Verifier};
//! # use atlasent::testing::MockAuthority;
//! use atlasent::Action;
//! use atlasent_axum::{Access, AtiLayer, Authorized, ProtectedRouter, SharedAuthority, TakePermit, get};
//! use axum::Json;
//! use serde::Deserialize;
//!
//! #[derive(Action, Deserialize)]
//! #[action("modify_patient_record")]
//! struct ModifyPatientRecord {
//!     #[action(resource)]
//!     patient_id: String,
//!     change_reason: String,
//! }
//!
//! // The action is in the body. The handler cannot be called without a permit for just these values.
//! async fn modify(Authorized(permit): Authorized<Json<ModifyPatientRecord>>) -> String {
//!     format!("{} is changed: {}", permit.patient_id, permit.change_reason)
//! }
//!
//! // The action is known from the route. The router has asked before the handler is called.
//! async fn list(TakePermit(permit): TakePermit) -> String {
//!     format!("for the eyes of {}", permit.agent())
//! }
//!
//! # let authority = MockAuthority::new();
//! # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
//! # let verifier = Verifier::builder(key.verifying_key()).build()?;
//! let app = ProtectedRouter::new()
//!     .authenticate(AtiLayer::new(verifier)) // in a service: `Verifier::from_env()?`
//!     .route("/records", get(Access::action("list_patient_records"), list).put(by_signature(), modify))
//!     .route("/health", get(Access::public(), async || "well"));
//! # use atlasent_axum::by_signature;
//!
//! assert_eq!(app.table().to_string(), "\
//! METHOD  PATH      ACTION                 SCOPE
//! GET     /health   (public)
//! HEAD    /health   (public)
//! GET     /records  list_patient_records
//! HEAD    /records  list_patient_records
//! PUT     /records  modify_patient_record
//! ");
//! let app = app.with_state(SharedAuthority::new(authority)); // and `axum::serve(listener, app.into_make_service())`
//! # Ok::<(), ati_client::Error>(())
//! ```
//!
//! # Where to go
//!
//! | you want to | see |
//! |---|---|
//! | have a permit for an action in the body, the path or the query | [`Authorized`] |
//! | take the permit that a layer has obtained | [`TakePermit`] |
//! | know who asks | [`Ati`] |
//! | annotate a handler | [`atlasent::protect`](macro@atlasent::protect), and return [`Refused`] |
//! | be sure that no route is open by accident | [`ProtectedRouter`] |
//! | add layers to a router that you have | [`AtiLayer`] and [`ProtectLayer`], with [`TargetExt`] |
//! | show in an OpenAPI document what is protected | `ProtectedRouter::describe` (feature `utoipa`) |
//!
//! To a router that you have, add the layers with `route_layer`: `layer` covers axum's fallback
//! too, so that permits are asked for, and used up, for paths that do not exist.
//!
//! `#[protect]` goes well with `#[axum::debug_handler]`. Where the handler has a parameter for the
//! permit, `#[protect]` has to stand above: the attribute that stands first sees the function as it
//! was written.
//!
//! [axum]: https://docs.rs/axum

#![cfg_attr(docsrs, feature(doc_cfg))]

mod ati;
mod authority;
mod authorized;
#[cfg(feature = "utoipa")]
mod openapi;
mod refused;
mod router;
mod take_permit;
mod target;

pub use ati::Ati;
#[doc(no_inline)]
pub use atlasent_tower::{
    Access, AtiLayer, ProblemDetails, ProtectLayer, Refusal, RequestTarget, Respond, Route,
    RouteTable, TakePermitLayer, Target, Unauthenticated,
};
pub use authority::{HasAuthority, SharedAuthority};
pub use authorized::{ActionSource, Authorized, AuthorizedRejection, Built};
pub use refused::Refused;
pub use router::{
    BySignature, ProtectedApp, ProtectedMethodRouter, ProtectedRouter, RouteAccess, ShowsPermit,
    by_signature, connect, delete, get, head, options, patch, post, put, trace,
};
pub use take_permit::TakePermit;
pub use target::TargetExt;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
