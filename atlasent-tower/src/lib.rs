//! Middleware for [tower] services (axum, tonic, hyper): no request reaches the inner service
//! without a verified permit.
//!
//! [`AtiLayer`] authenticates the agent by its ATI token. [`ProtectLayer`], inside it, asks an
//! [`Authority`](atlasent::Authority) for a permit for the action of the request, and calls the
//! inner service only with it.
//!
//! ```
//! # use ati_client::{Claims, SigningKey, Verifier, issue};
//! # use atlasent::testing::MockAuthority;
//! use atlasent_tower::{AtiLayer, ProtectLayer, RequestTarget};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # futures_executor::block_on(async {
//! # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
//! # let verifier = Verifier::builder(key.verifying_key()).build()?;
//! # let authority = MockAuthority::new().allow("deploy.production");
//! # let token = issue(&Claims::builder("deploy-bot").scope("tool:deploy").build()?, &key)?;
//! let service = ServiceBuilder::new()
//!     .layer(AtiLayer::new(verifier).scope("tool:deploy")) // in a service: `Verifier::from_env()?`
//!     .layer(ProtectLayer::new(authority, RequestTarget::action("deploy.production")))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("deployed"))))
//!     }));
//!
//! let request = Request::post("/deploy").header("authorization", format!("Bearer {token}"));
//! assert_eq!(service.clone().oneshot(request.body(Full::default())?).await?.status(), 200);
//!
//! let anonymous = Request::post("/deploy").body(Full::default())?;
//! assert_eq!(service.oneshot(anonymous).await?.status(), 401);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Guarantees
//!
//! - The inner service is called only after the authority allowed the action and the permit was
//!   verified, which consumes it. Every other outcome is a [`Refusal`].
//! - The agent is authenticated. A header that any client can send does not name the agent, unless
//!   the target [says so](RequestTarget::trusted_header).
//! - A path that normalization would change is refused before anything is decided. The whole path
//!   is checked, also inside `nest` of axum (feature `axum`, enabled by default).
//! - Bodies, trailers and upgrades pass through unchanged. Readiness is that of the inner service.
//!   Dropping a request cancels it.
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | authenticate agents, check scopes, enforce rates | [`AtiLayer`] |
//! | require a permit for every request | [`ProtectLayer`], with a [`RequestTarget`] or your own [`Target`] |
//! | declare the access of each method of a gRPC server | [`ProtectedMethods`] |
//! | use the permit in an inner service | [`PermitSlot`] |
//! | enforce one call for each permit, whatever layers are in between | [`TakePermitLayer`] |
//! | build your own responses to refused requests | [`Respond`], [`Refusal`] |
//! | answer refusals as gRPC statuses | [`GrpcStatus`] |
//! | let callers wait for approvers | [`ProtectLayer::max_wait`] |
//! | build a router for another framework | [`RouteGuard`], [`Access`] |
//! | use extractors and routers for axum | the crate `atlasent-axum` |
//!
//! [tower]: https://docs.rs/tower

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod ati;
mod bearer;
mod body;
mod challenge;
mod grpc;
mod header;
mod methods;
mod path;
mod prefer;
mod problem;
mod protect;
mod ready;
mod refusal;
mod respond;
mod table;
mod target;

pub use access::{Access, Authentication, RouteGuard};
pub use ati::{AtiFuture, AtiLayer, AtiService};
pub use body::ResponseBody;
pub use methods::{ProtectedMethods, ProtectedMethodsService};
pub use path::{check_path, check_request_path, whole_path};
pub use prefer::{AppliedWait, MaxWait, preferred_wait};
pub use protect::{
    PermitSlot, ProtectFuture, ProtectLayer, ProtectService, TakePermitFuture, TakePermitLayer,
    TakePermitService, obtain_permit,
};
pub use refusal::{Misconfiguration, Refusal, Unauthenticated};
pub use respond::{GrpcStatus, ProblemDetails, Respond};
pub use table::{Route, RouteTable};
pub use target::{PermitRequest, RequestTarget, Target, claims, subject};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
