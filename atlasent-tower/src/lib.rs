//! Middleware for [tower] services, whatever serves them: axum, tonic, hyper. No request reaches
//! the inner service without a verified permit.
//!
//! Two layers, from the outside in. [`AtiLayer`] finds out who asks: an ATI token says it.
//! [`ProtectLayer`] asks an [`Authority`](atlasent::Authority) whether that agent may do what the
//! request is about, and calls the inner service with a permit, or not at all.
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
//! let nobody = Request::post("/deploy").body(Full::default())?;
//! assert_eq!(service.oneshot(nobody).await?.status(), 401);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # What holds
//!
//! - The inner service is called after an allow whose permit was verified, and so consumed; every
//!   other outcome is a [`Refusal`].
//! - The agent comes from something authenticated. A header that any client can send names no agent,
//!   unless the target [says so](RequestTarget::trusted_header).
//! - A path that normalization would change is refused before anything is decided on it: the whole
//!   of it, inside of axum's `nest` as well (feature `axum`, which is on by default).
//! - Bodies stream through as they are, and so do trailers and upgrades. Readiness is the inner
//!   service's. A request that is dropped leaves nothing behind.
//!
//! # Where to go
//!
//! | you want to | see |
//! |---|---|
//! | know who asks | [`AtiLayer`] |
//! | let nothing through without a permit | [`ProtectLayer`], with a [`RequestTarget`] or a [`Target`] of your own |
//! | protect a gRPC server, method by method | [`ProtectedMethods`] |
//! | use the permit further in | [`PermitSlot`] |
//! | be sure that one permit is one call, whatever stands in between | [`TakePermitLayer`] |
//! | answer refusals in your own way | [`Respond`], [`Refusal`] |
//! | answer refusals as gRPC statuses | [`GrpcStatus`] |
//! | extractors and routers for axum | the crate `atlasent-axum` |
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
mod problem;
mod protect;
mod ready;
mod refusal;
mod respond;
mod table;
mod target;

pub use access::{Access, Authentication, Guard};
pub use ati::{AtiFuture, AtiLayer, AtiService};
pub use body::ResponseBody;
pub use methods::{ProtectedMethods, ProtectedMethodsService};
pub use path::{check_path, check_request_path, whole_path};
pub use protect::{
    PermitSlot, ProtectFuture, ProtectLayer, ProtectService, TakePermitFuture, TakePermitLayer,
    TakePermitService,
};
pub use refusal::{Misconfiguration, Refusal, Unauthenticated};
pub use respond::{GrpcStatus, ProblemDetails, Respond};
pub use table::{Route, RouteTable};
pub use target::{Asked, RequestTarget, Target, admit, claims, subject};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
