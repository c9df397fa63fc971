//! Runs the same protected body by every API that closes an execution.

use std::panic::{AssertUnwindSafe, catch_unwind};

use atlasent::error::ConfigError;
use atlasent::{AnyAction, Authority, AuthorityExt, Error, Permit, blocking, protect};
use atlasent_tests::{Driven, drive, yields};

pub(crate) const ACTION: &str = "record.read";
pub(crate) const AGENT: &str = "chart-bot";
pub(crate) const TOKEN: &str = "permit_5ecret-0123456789-abcdef";
/// The text of a redacted [`TOKEN`].
pub(crate) const REDACTED: &str = "…abcdef";
/// A value of the context.
pub(crate) const PATIENT: &str = "Jane Doe, born 1980";

/// The behaviour of the body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Completes,
    Fails,
    Panics,
    /// Stays pending forever. Async only.
    Hangs,
}

pub(crate) type Call<P> = fn(&P, Body) -> Driven<Result<(), Error>>;

pub(crate) fn async_calls<P: Authority>() -> [(&'static str, Call<P>); 2] {
    [
        ("async fn", |p, body| drive(annotated(p, PATIENT, body), 9)),
        ("with_permit", |p, body| {
            let call = p.with_permit(AGENT, action(), async |_permit| {
                if matches!(body, Body::Hangs) {
                    yields(usize::MAX).await;
                }
                act(body)
            });
            drive(call, 9)
        }),
    ]
}

pub(crate) fn sync_calls<P: Authority>() -> [(&'static str, Call<P>); 2] {
    [
        ("fn", |p, body| {
            done(|| annotated_sync(p, PATIENT.into(), body))
        }),
        ("blocking::with_permit", |p, body| {
            done(|| blocking::with_permit(p, AGENT, action(), |_permit| act(body)))
        }),
    ]
}

pub(crate) fn action() -> AnyAction {
    let action = AnyAction::new(ACTION).unwrap().with_resource("record-7");
    action.with_field("patient", PATIENT).unwrap()
}

fn done(call: impl FnOnce() -> Result<(), Error>) -> Driven<Result<(), Error>> {
    catch_unwind(AssertUnwindSafe(call)).map_or(Driven::Panicked, Driven::Done)
}

fn act(body: Body) -> Result<(), Error> {
    match body {
        Body::Completes | Body::Hangs => Ok(()),
        Body::Fails => Err(ConfigError::new("the body's own error").into()),
        Body::Panics => panic!("scripted"),
    }
}

#[protect(
    action = "record.read",
    agent = "chart-bot",
    context = { patient },
    resource = "record-7",
    authority = authority
)]
async fn annotated<P: Authority>(authority: &P, patient: &str, body: Body) -> Result<(), Error> {
    if matches!(body, Body::Hangs) {
        yields(usize::MAX).await;
    }
    act(body)
}

#[protect(
    action = "record.read",
    agent = "chart-bot",
    context = { patient },
    resource = "record-7",
    authority = authority
)]
fn annotated_sync<P: Authority>(
    authority: &P,
    patient: String,
    body: Body,
    permit: Permit,
) -> Result<(), Error> {
    assert_eq!(permit.id(), TOKEN);
    act(body)
}
