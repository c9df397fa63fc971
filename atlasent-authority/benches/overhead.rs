//! The cost of obtaining a permit: a bare function, and a protected one under an authority that
//! allows at once.
//!
//! - `bare` is the function without any attribute.
//! - `protected` is the same function under `#[protect]`.
//! - `protected_with_context` adds three fields and a resource to the request.
//! - `permit` is `protect` alone, without a function around it.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run should stop"
)]

use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{AnyAction, Authority, AuthorityExt, Error, protect};
use divan::{AllocProfiler, Bencher, black_box};
use futures_executor::block_on;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Allows every request.
struct Yes;

impl Authority for Yes {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Ok(Evaluation::allow(PermitToken::new("permit_0123456789")?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Ok(Verification::valid())
    }
}

async fn add(amount: i64) -> Result<i64, Error> {
    Ok(black_box(amount) + 1)
}

#[protect(action = "add", agent = "bot", authority = Yes)]
async fn add_protected(amount: i64) -> Result<i64, Error> {
    Ok(black_box(amount) + 1)
}

#[protect(
    action = "add",
    agent = "bot",
    context = { amount, region: "eu-west", urgent: false },
    resource = "account-12",
    authority = Yes,
)]
async fn add_protected_with_context(amount: i64) -> Result<i64, Error> {
    Ok(black_box(amount) + 1)
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| block_on(add(black_box(1))).unwrap());
}

#[divan::bench]
fn protected(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| block_on(add_protected(black_box(1))).unwrap());
}

#[divan::bench]
fn protected_with_context(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| block_on(add_protected_with_context(black_box(1))).unwrap());
}

#[divan::bench]
fn permit(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| block_on(Yes.protect("bot", AnyAction::new("add").unwrap())).unwrap());
}

fn main() {
    divan::main();
}
