//! The functions that the expansions of `#[protect]` and `#[derive(Action)]` call.
//!
//! This is not an API and changes with every release. The module's public name holds the patch
//! version, so that an expansion never calls the runtime of another version.

#![allow(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "only macro expansions call these functions"
)]

pub mod constant;

pub use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

pub use inventory;
pub use serde::Serialize;

pub use crate::action::DerivedAction;
pub use crate::authority::config::default_authority;
pub use crate::protect::Conditions;
pub use crate::protect::run::{
    Fallible, Obtained, PermitParameter, Refusable, Returns, returns, run, run_blocking,
};
pub use crate::schema;
pub use crate::sites::SiteData;

use self::constant::ConstantAction;
use crate::blocking::wait;
use crate::wire::RequestOptions;
pub use crate::wire::ResultHash;
pub use crate::{Action, Context, Error, Permit};
use crate::{Agent, AnyAction, Authority, ToAgent};

/// Checks the `agent` argument, which is borrowed.
pub fn agent<T: ToAgent + ?Sized>(name: &T) -> Result<Agent, Error> {
    name.to_agent()
}

/// Applies the `request` argument to the optional fields.
pub fn options(set: impl FnOnce(RequestOptions) -> RequestOptions) -> Conditions {
    let mut conditions = no_options();
    conditions.set_options(set);
    conditions
}

/// Returns the conditions of a call without a `request` argument.
pub fn no_options() -> Conditions {
    Conditions::default()
}

/// Sets the time of a `wait` argument that is an expression.
pub fn wait_at_most(mut conditions: Conditions, at_most: Duration) -> Conditions {
    conditions.set_wait(at_most);
    conditions
}

/// Sets the time of a `wait` argument that is a literal.
pub fn wait_millis(conditions: Conditions, at_most: u64) -> Conditions {
    wait_at_most(conditions, Duration::from_millis(at_most))
}

/// Adds the scope of the `scope` and `claims` arguments.
#[cfg(feature = "ati")]
pub fn scope<S: AsRef<str> + ?Sized, C: crate::scope::HasClaims + ?Sized>(
    mut conditions: Conditions,
    required: &S,
    claims: &C,
) -> Conditions {
    conditions.require_claims(claims.claims(), Some(required.as_ref()));
    conditions
}

/// Adds the claims of a `claims` argument without a `scope`.
#[cfg(feature = "ati")]
pub fn claims<C: crate::scope::HasClaims + ?Sized>(
    mut conditions: Conditions,
    claims: &C,
) -> Conditions {
    conditions.require_claims(claims.claims(), None);
    conditions
}

/// Rejects the `scope` and `claims` arguments at compile time, without the feature `ati`.
#[cfg(not(feature = "ati"))]
pub fn scope<S: AsRef<str> + ?Sized, C: FeatureAti + ?Sized>(
    conditions: Conditions,
    _: &S,
    _: &C,
) -> Conditions {
    conditions
}

/// Rejects a `claims` argument at compile time, without the feature `ati`.
#[cfg(not(feature = "ati"))]
pub fn claims<C: FeatureAti + ?Sized>(conditions: Conditions, _: &C) -> Conditions {
    conditions
}

/// The bound that no type meets, so that the compiler's error names the missing feature.
#[cfg(not(feature = "ati"))]
#[diagnostic::on_unimplemented(
    message = "`scope` and `claims` need the feature `ati` of `atlasent`",
    label = "scopes are not compiled in",
    note = "turn it on in Cargo.toml: `cargo add atlasent --features ati`"
)]
pub trait FeatureAti {}

/// Borrows the `authority` argument. The opaque result type keeps a value of the wrong type from
/// causing a second compiler error in [`obtain`].
pub fn authority<P: Authority + ?Sized>(authority: &P) -> Result<impl Authority, Error> {
    Ok(authority)
}

/// The evaluated arguments of `#[protect]`, before the authority is asked.
#[derive(Debug)]
pub struct PermitRequest<P, A> {
    agent: Result<Agent, Error>,
    authority: Result<P, Error>,
    action: Result<A, Error>,
    conditions: Conditions,
}

/// Makes the request for an action that the attribute names by a literal.
pub fn literal_request<P>(
    agent: Result<Agent, Error>,
    authority: Result<P, Error>,
    action: LiteralAction,
    conditions: Conditions,
) -> PermitRequest<P, AnyAction> {
    PermitRequest {
        agent,
        authority,
        action: action.0,
        conditions,
    }
}

/// Makes the request for an action that is a value with a type of its own.
pub fn typed_request<P, A>(
    agent: Result<Agent, Error>,
    authority: Result<P, Error>,
    conditions: Conditions,
    action: A,
) -> PermitRequest<P, A> {
    PermitRequest {
        agent,
        authority,
        action: Ok(action),
        conditions,
    }
}

/// Makes the request for an action that is a constant: a name, or an action.
pub fn constant_request<P, C: ConstantAction>(
    agent: Result<Agent, Error>,
    authority: Result<P, Error>,
    conditions: Conditions,
    constant: C,
) -> PermitRequest<P, C::Action> {
    PermitRequest {
        agent,
        authority,
        action: constant.into_action(),
        conditions,
    }
}

/// Returns the value that the closure of the `receipt` argument gets, of a body that did not fail.
pub fn returned<R: Fallible>(result: &R) -> Option<&R::Value> {
    result.value()
}

/// Hashes what the closure of the `receipt` argument returned.
pub fn result_hash<T: ResultBytes + ?Sized>(bytes: &T) -> ResultHash {
    ResultHash::of(bytes)
}

/// A value that a result can be hashed by: every `AsRef<[u8]>` type. It is a trait so that the
/// compiler's error can say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not text or bytes, so a result cannot be hashed by it",
    label = "the closure of `receipt` returns this",
    note = "return the text or the bytes that identify the result, such as `|release| release.id.to_string()`"
)]
pub trait ResultBytes: AsRef<[u8]> {}

#[diagnostic::do_not_recommend]
impl<T: AsRef<[u8]> + ?Sized> ResultBytes for T {}

/// Obtains the permit of an annotated async function.
pub async fn obtain<P: Authority, A: Action>(request: PermitRequest<P, A>) -> Obtained<Permit<A>> {
    ask(request).await.into()
}

/// Obtains the permit of an annotated function that is not async.
pub fn obtain_blocking<P: Authority, A: Action>(
    request: PermitRequest<P, A>,
) -> Obtained<Permit<A>> {
    wait(ask(request)).into()
}

async fn ask<P: Authority, A: Action>(request: PermitRequest<P, A>) -> Result<Permit<A>, Error> {
    let PermitRequest {
        agent,
        authority,
        action,
        conditions,
    } = request;
    crate::protect::obtain(&authority?, Ok(agent?), action?, conditions).await
}

/// The [`AnyAction`] of a literal `action`, built argument by argument. It keeps the first error,
/// so that an expansion handles errors in one place.
#[derive(Debug)]
pub struct LiteralAction(Result<AnyAction, Error>);

impl LiteralAction {
    /// Starts the action with its name.
    pub fn new(name: &'static str) -> Self {
        Self(AnyAction::new(name))
    }

    /// Adds one `name: value` of the `context` argument.
    pub fn field<T: ContextValue + ?Sized>(self, key: &'static str, value: &T) -> Self {
        Self(self.0.and_then(|action| action.with_field(key, value)))
    }

    /// Sets the context from a `context` argument that is one expression.
    pub fn context<T: ContextValue + ?Sized>(self, value: &T) -> Self {
        Self(self.0.and_then(|action| {
            Context::from_serialize(value).map(|context| action.with_context(context))
        }))
    }

    /// Sets the resource from the `resource` argument.
    pub fn resource<T: ResourceName + ?Sized>(self, value: &T) -> Self {
        Self(self.0.map(|action| action.with_resource(value.to_string())))
    }
}

/// The context of a derived action, built field by field. It keeps the first error.
#[derive(Debug)]
pub struct DerivedContext(Result<Context, Error>);

impl DerivedContext {
    /// Starts a context without fields.
    pub fn empty() -> Self {
        Self(Ok(Context::new()))
    }

    /// Adds a field, unless an earlier one failed.
    pub fn field<T: ContextValue + ?Sized>(self, key: &'static str, value: &T) -> Self {
        Self(self.0.and_then(|mut context| {
            context.insert(key, value)?;
            Ok(context)
        }))
    }

    /// Returns the context, or the first error.
    pub fn finish(self) -> Result<Context, Error> {
        self.0
    }
}

/// Returns the name of a derived action for its requests.
pub const fn static_name<A: DerivedAction + ?Sized>() -> Cow<'static, str> {
    Cow::Borrowed(A::DERIVED_NAME)
}

/// Returns the resource of a derived action from its marked field.
pub fn resource<T: ResourceName + ?Sized>(value: &T) -> Option<Cow<'_, str>> {
    Some(Cow::Owned(value.to_string()))
}

/// Checks that a type called `Permit` is a permit of this crate.
pub const fn is_permit<P: IsPermit>() {}

/// A permit of this crate. It is a trait so that the compiler's error can say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a permit of `atlasent`",
    label = "`#[boundary]` accepts an `atlasent::Permit` in place of `#[protect]`",
    note = "write `#[protect]` or `#[open]` above the method"
)]
pub trait IsPermit {}

impl<A> IsPermit for Permit<A> {}

/// A value that can be part of a context: every `Serialize` type. It is a trait so that the
/// compiler's error can say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a context",
    label = "this does not implement `serde::Serialize`, and policies read it as JSON",
    note = "derive `serde::Serialize` for it, or add that bound where it is a type parameter; a type of \
            another crate may have a `serde` feature",
    note = "or pass the value that policies need, such as `approver: user.name`; a field of an action can be \
            left out with `#[action(skip)]`"
)]
pub trait ContextValue: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> ContextValue for T {}

/// A value that can name a resource: every `Display` type. It is a trait so that the compiler's
/// error can say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a resource",
    label = "this does not implement `std::fmt::Display`",
    note = "pass a value that names the resource, such as its id"
)]
pub trait ResourceName: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> ResourceName for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_action_keeps_its_first_error() {
        let error = LiteralAction::new("")
            .field("ratio", &f64::NAN)
            .resource("r")
            .0
            .unwrap_err();
        assert!(error.to_string().contains("the action is empty"), "{error}");
    }

    #[test]
    fn a_literal_action_collects_its_parts() {
        let action = LiteralAction::new("wire")
            .context(&serde_json::json!({"amount": 5}))
            .field("currency", "EUR")
            .resource(&7)
            .0
            .unwrap();
        assert_eq!(action.resource().as_deref(), Some("7"));
        assert_eq!(
            action.context().unwrap().canonical_json(),
            r#"{"amount":5,"currency":"EUR"}"#
        );
    }
}
