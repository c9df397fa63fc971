//! Permits for [axum]: extractors, and a router in which every route declares its protection.
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
//! // The action is in the body. The handler does not run without a permit for exactly these values.
//! async fn modify(Authorized(permit): Authorized<Json<ModifyPatientRecord>>) -> String {
//!     format!("{} is changed: {}", permit.patient_id, permit.change_reason)
//! }
//!
//! // The route names the action. The router obtains the permit before it calls the handler.
//! async fn list(TakePermit(permit): TakePermit) -> String {
//!     format!("records for {}", permit.agent())
//! }
//!
//! # let authority = MockAuthority::new();
//! # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
//! # let verifier = Verifier::builder(key.verifying_key()).build()?;
//! let app = ProtectedRouter::new()
//!     .authenticate(AtiLayer::new(verifier)) // in a service: `Verifier::from_env()?`
//!     .route("/records", get(Access::action("list_patient_records"), list).put(by_signature(), modify))
//!     .route("/health", get(Access::public(), async || "ok"));
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
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | obtain a permit for an action in the body, the path or the query | [`Authorized`] |
//! | take the permit that a layer obtained | [`TakePermit`] |
//! | read the claims of the caller | [`Ati`] |
//! | annotate a handler | [`atlasent::protect`](macro@atlasent::protect), and return [`Refused`] |
//! | build the responses of refusals and bad requests | [`ProtectedRouter::respond_with`], [`Extracted`] |
//! | leave no route open by accident | [`ProtectedRouter`] |
//! | protect an existing router | [`AtiLayer`] and [`ProtectLayer`], with [`TargetExt`] |
//! | show the protection in an OpenAPI document | `ProtectedRouter::describe` (feature `utoipa`) |
//!
//! Add the layers to an existing router with `route_layer`. `layer` would also cover axum's
//! fallback, and obtain and use up permits for paths that do not exist.
//!
//! `#[protect]` works together with `#[axum::debug_handler]`. On a handler with a parameter for the
//! permit, write `#[protect]` above `#[axum::debug_handler]`: `#[protect]` removes that parameter
//! before axum sees the function.
//!
//! [axum]: https://docs.rs/axum

#![cfg_attr(docsrs, feature(doc_cfg))]

mod ati;
mod authority;
mod authorized;
mod extracted;
#[cfg(feature = "utoipa")]
mod openapi;
mod refused;
mod rejected;
mod router;
mod take_permit;
mod target;

pub use ati::Ati;
#[doc(no_inline)]
pub use atlasent_tower::{
    Access, AtiLayer, MaxWait, ProblemDetails, ProtectLayer, Refusal, RequestTarget, Respond,
    Route, RouteTable, TakePermitLayer, Target, Unauthenticated,
};
pub use authority::{HasAuthority, SharedAuthority};
pub use authorized::{ActionSource, Authorized, AuthorizedRejection, Built};
pub use extracted::{Extracted, ExtractedRejection};
pub use refused::Refused;
pub use router::{
    BySignature, ProtectedApp, ProtectedMethodRouter, ProtectedRouter, RouteAccess, ShowsPermit,
    by_signature, connect, delete, get, head, options, patch, post, put, trace,
};
pub use take_permit::TakePermit;
pub use target::TargetExt;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
