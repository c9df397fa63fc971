//! Any bytes as the body of a request to the server: the response has one of the contract's forms,
//! and only the permitted action is allowed.

#![no_main]

use std::sync::LazyLock;

use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::keys::{ApiKey, KeyEnvironment};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const PATHS: [&str; 5] = [
    "/v1-evaluate?include=constraint_trace",
    "/v1-evaluate-stream",
    "/v1-verify-permit",
    "/v1-revoke-permit",
    "/v1-audit/exports",
];

/// A server that permits one action to one agent, with its runtime and an API key.
static SERVER: LazyLock<(Runtime, Router, String)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let policies = r#"permit (principal == Agent::"deploy-bot", action == Action::"deploy", resource);"#;
    let policies = Policies::parse(policies).expect("policies");
    let authority = LocalAuthority::builder(policies).store(MemoryStore::with_limits(1_000, 100));
    let authority = runtime.block_on(authority.build()).expect("an authority");
    let (key, secret) = ApiKey::generate(KeyEnvironment::Test).expect("a key");
    let ring = KeyRing::in_memory().expect("a signing key");
    let router = Server::new(authority, ApiKeys::new([key]), ring).into_router();
    (runtime, router, format!("Bearer {}", secret.expose_secret()))
});

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let (runtime, router, key) = &*SERVER;
    let path = PATHS[usize::from(*choice) % PATHS.len()];
    let request = Request::post(path)
        .header("authorization", key)
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()))
        .expect("a request");
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let answer = to_bytes(response.into_body(), usize::MAX).await.expect("its body");
        assert!([200, 400, 409, 413, 422].contains(&status), "{status}");
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status != 200 {
            assert!(answer["code"].is_string() && answer["message"].is_string());
        }
        if answer["decision"] == "allow" && path.starts_with("/v1-evaluate?") {
            let asked: Value = serde_json::from_slice(body).expect("an allowed request is JSON");
            assert!(asked["action_type"] == "deploy" || asked["action"] == "deploy");
            assert!(asked["actor_id"] == "deploy-bot" || asked["agent"] == "deploy-bot");
        }
    });
});
