//! Measures how much a layer adds to the time of a request: one `oneshot` through an axum router
//! with one route. The router has its state, as served routers do. (Without its state, axum
//! rebuilds the route and its layers for each request.)
//!
//! Each benchmark is compared with `bare`, the same router without layers (`bare_json` if the
//! handler reads a body), in the same run:
//!
//! - `ati`, `ati_cached`: `AtiLayer` with HS256, without and with a cache of verified tokens.
//! - `protect`: `ProtectLayer` with an authority that allows at once, for a fixed agent.
//!   `protect_outside` is the same layer around the whole router, without the cost of a layer
//!   inside axum.
//! - `ati_cached_protect`: both layers; the token names the agent.
//! - `protect_embedded`: `ProtectLayer` with the embedded authority, on ten policies.
//! - `authorized`: `Authorized<Json<_>>` behind a cached `AtiLayer`.
//! - `router`: the same route in a `ProtectedRouter`.
//! - `tower_http`: `AsyncRequireAuthorizationLayer` that accepts all requests.
//! - `protect_axum`: its `GrantsLayer`, and its `#[protect("ROLE")]` on the same handler.
//!
//! The goal: `protect` adds at most 1.8 times what `protect_axum` adds, and at most 12 allocations.
//! `ARCHITECTURE.md` has the results, and where the time goes.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run should stop"
)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::LazyLock;

use ati_client::{Claims, SigningKey, VerifiedCache, Verifier, issue};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Action, Authority, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_axum::{
    Access, AtiLayer, Authorized, ProtectLayer, ProtectedRouter, RequestTarget, SharedAuthority,
    post as protected_post,
};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use divan::{AllocProfiler, Bencher, black_box};
use futures_executor::block_on;
use serde::Deserialize;
use tower::{Layer, Service, ServiceExt};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let secret = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";
    SigningKey::from_hex(secret).unwrap()
});

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = Claims::builder("deploy-bot").scope("tool:deploy").build();
    format!("Bearer {}", issue(&claims.unwrap(), &KEY).unwrap())
});

/// An authority that allows everything.
struct AllowAll;

impl Authority for AllowAll {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Ok(Evaluation::allow(PermitToken::new("permit_0123456789")?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Ok(Verification::valid())
    }
}

#[derive(Action, Deserialize)]
#[action("deploy")]
struct Deploy {
    commit: String,
}

async fn handler() -> &'static str {
    "deployed"
}

async fn json_handler(Json(deploy): Json<Deploy>) -> String {
    deploy.commit
}

async fn authorized_handler(Authorized(permit): Authorized<Json<Deploy>>) -> String {
    permit.into_action().commit
}

#[protect_axum::protect("DEPLOYER")]
async fn role_handler() -> &'static str {
    "deployed"
}

fn routes() -> Router {
    Router::new().route("/deploy", post(handler))
}

fn verifier() -> Verifier {
    Verifier::builder(KEY.verifying_key()).build().unwrap()
}

fn cached() -> AtiLayer {
    let verifier = Verifier::builder(KEY.verifying_key()).cache(VerifiedCache::new(100));
    AtiLayer::new(verifier.build().unwrap())
}

fn target() -> RequestTarget {
    RequestTarget::action("deploy")
}

fn measure(bencher: Bencher<'_, '_>, app: Router) {
    measure_service(bencher, app.with_state(()));
}

fn measure_service<S>(bencher: Bencher<'_, '_>, service: S)
where
    S: Service<Request, Error = Infallible> + Clone,
    S::Response: StatusOf,
{
    bencher
        .with_inputs(|| (service.clone(), request()))
        .bench_local_values(|inputs| {
            let (service, request) = black_box(inputs);
            let response = block_on(service.oneshot(request)).unwrap();
            // A refused request might be cheaper.
            assert_eq!(response.status(), 200);
            response
        });
}

fn request() -> Request {
    Request::post("/deploy")
        .header("authorization", TOKEN.as_str())
        .header("content-type", "application/json")
        .body(Body::from(r#"{"commit":"4f2a9c1"}"#))
        .unwrap()
}

/// A response with any body.
trait StatusOf {
    fn status(&self) -> u16;
}

impl<B> StatusOf for http::Response<B> {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    measure(bencher, routes());
}

#[divan::bench]
fn bare_json(bencher: Bencher<'_, '_>) {
    measure(bencher, Router::new().route("/deploy", post(json_handler)));
}

#[divan::bench]
fn ati(bencher: Bencher<'_, '_>) {
    measure(bencher, routes().route_layer(AtiLayer::new(verifier())));
}

#[divan::bench]
fn ati_cached(bencher: Bencher<'_, '_>) {
    measure(bencher, routes().route_layer(cached()));
}

#[divan::bench]
fn protect(bencher: Bencher<'_, '_>) {
    let layer = ProtectLayer::new(AllowAll, target().agent("deploy-bot"));
    measure(bencher, routes().route_layer(layer));
}

#[divan::bench]
fn protect_outside(bencher: Bencher<'_, '_>) {
    let layer = ProtectLayer::new(AllowAll, target().agent("deploy-bot"));
    measure_service(bencher, layer.layer(routes().with_state(())));
}

#[divan::bench]
fn ati_cached_protect(bencher: Bencher<'_, '_>) {
    let app = routes().route_layer(ProtectLayer::new(AllowAll, target()));
    measure(bencher, app.route_layer(cached()));
}

#[divan::bench]
fn protect_embedded(bencher: Bencher<'_, '_>) {
    let mut policies = String::from(r#"permit (principal, action == Action::"deploy", resource);"#);
    for number in 1..10 {
        let agent = format!("bot-{number}");
        policies += &format!(
            r#"forbid (principal == Agent::"{agent}", action == Action::"deploy", resource);"#
        );
    }
    let authority = LocalAuthority::in_memory(Policies::parse(&policies).unwrap()).unwrap();
    let layer = ProtectLayer::new(authority, target().agent("deploy-bot"));
    measure(bencher, routes().route_layer(layer));
}

#[divan::bench]
fn authorized(bencher: Bencher<'_, '_>) {
    let app = Router::new().route("/deploy", post(authorized_handler));
    let app = app
        .route_layer(cached())
        .with_state(SharedAuthority::new(AllowAll));
    measure(bencher, app);
}

#[divan::bench]
fn router(bencher: Bencher<'_, '_>) {
    let access = Access::target(target().agent("deploy-bot"));
    let router = ProtectedRouter::new().route("/deploy", protected_post(access, handler));
    measure_service(bencher, router.with_state(SharedAuthority::new(AllowAll)));
}

#[divan::bench]
fn tower_http(bencher: Bencher<'_, '_>) {
    let layer = tower_http::auth::AsyncRequireAuthorizationLayer::new(async |request: Request| {
        Ok::<_, Response>(request)
    });
    measure(bencher, routes().route_layer(layer));
}

#[divan::bench]
fn protect_axum(bencher: Bencher<'_, '_>) {
    async fn roles(_: &mut Request) -> Result<HashSet<String>, Response> {
        Ok(HashSet::from(["DEPLOYER".to_owned()]))
    }
    let app = Router::new().route("/deploy", post(role_handler));
    let layer = protect_axum::GrantsLayer::with_extractor(roles);
    measure(bencher, app.route_layer(layer));
}

fn main() {
    // One request is too short to measure.
    let divan = divan::Divan::default().sample_count(500).sample_size(50);
    divan.config_with_args().main();
}
