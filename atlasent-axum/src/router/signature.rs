//! Handlers whose signature shows that they obtain a permit.

use atlasent::NamedAction;
use atlasent_tower::Access;

use super::methods::RouteAccess;
use crate::{ActionSource, Authorized};

/// Declares a route whose handler obtains its own permit: its last parameter is an [`Authorized`].
///
/// ```compile_fail,E0277
/// # use atlasent_axum::{ProtectedRouter, SharedAuthority, by_signature, post};
/// // This handler takes no permit.
/// async fn deploy(body: String) {}
///
/// ProtectedRouter::<SharedAuthority>::new().route("/", post(by_signature(), deploy));
/// ```
pub fn by_signature() -> BySignature {
    BySignature { scopes: Vec::new() }
}

/// The access of a handler that obtains its own permit, from [`by_signature`].
#[derive(Clone, Debug)]
#[must_use]
pub struct BySignature {
    scopes: Vec<String>,
}

impl BySignature {
    /// Requires an ATI scope, which is checked before the authority is asked. A second call adds
    /// another scope: see [`Access::scope`].
    pub fn scope(mut self, required: impl Into<String>) -> Self {
        self.scopes.push(required.into());
        self
    }
}

impl<T: ShowsPermit> RouteAccess<T> for BySignature {
    fn access(self) -> Access {
        let access = Access::in_handler(T::Action::NAME);
        self.scopes.into_iter().fold(access, Access::scope)
    }
}

/// The signature of a handler whose last parameter is an [`Authorized`].
#[diagnostic::on_unimplemented(
    message = "this handler's signature shows no permit",
    label = "`by_signature()` needs a handler whose last parameter is an `Authorized<…>`",
    note = "take the action as `Authorized<Json<A>>`, `Authorized<Path<A>>` or another `Authorized<…>`, last",
    note = "or declare the access: `Access::action(\"…\")`, with `TakePermit` in the handler"
)]
pub trait ShowsPermit {
    /// The type of the action that the permit is for.
    type Action: NamedAction;
}

macro_rules! signatures {
    ($(($($before:ident)*))*) => {$(
        impl<M, $($before,)* E> ShowsPermit for (M, $($before,)* Authorized<E>,)
        where
            E: ActionSource<Action: NamedAction>,
        {
            type Action = E::Action;
        }
    )*};
}

// axum's handlers have at most 16 parameters.
signatures! {
    ()
    (T1)
    (T1 T2)
    (T1 T2 T3)
    (T1 T2 T3 T4)
    (T1 T2 T3 T4 T5)
    (T1 T2 T3 T4 T5 T6)
    (T1 T2 T3 T4 T5 T6 T7)
    (T1 T2 T3 T4 T5 T6 T7 T8)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9 T10)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13 T14)
    (T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13 T14 T15)
}
