//! The methods of a path, each with its required access.

use std::fmt;

use atlasent_tower::{Access, RouteGuard};
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::handler::{GuardedHandler, Responder};
use crate::HasAuthority;

/// The methods of one path, created by [`get`], [`post`] and the other functions of this kind.
///
/// Each call adds a method. Declaring a method twice for a path panics when the router is built:
/// see [`with_state`](crate::ProtectedRouter::with_state). The guard and the handler of `GET` also
/// answer `HEAD`, unless `HEAD` is declared separately.
#[must_use]
pub struct ProtectedMethodRouter<S>(Vec<Method<S>>);

/// One method of a path.
pub(super) struct Method<S> {
    pub(super) name: &'static str,
    pub(super) access: Access,
    pub(super) handler: Box<MakeHandler<S>>,
}

type MakeHandler<S> = dyn FnOnce(RouteGuard, Responder) -> MethodRouter<S> + Send;

impl<S> ProtectedMethodRouter<S> {
    pub(super) fn into_iter(self) -> impl Iterator<Item = Method<S>> {
        self.0.into_iter()
    }
}

/// What a route requires of its callers.
///
/// An [`Access`] fits any handler. [`by_signature`](crate::by_signature()) fits a handler whose
/// last parameter is an `Authorized`. `T` is the type of the handler's signature, as in axum's
/// `Handler`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare the access of this handler",
    label = "not an `Access`, or not one that fits this handler's signature",
    note = "write `Access::action(\"…\")`, `Access::target(…)` or `Access::public()`",
    note = "or `by_signature()`, where the handler's last parameter is an `Authorized<…>`"
)]
pub trait RouteAccess<T> {
    /// Returns the access.
    fn access(self) -> Access;
}

impl<T> RouteAccess<T> for Access {
    fn access(self) -> Access {
        self
    }
}

macro_rules! methods {
    ($($name:ident, $method:ident, $text:literal;)*) => {
        $(
            #[doc = concat!("Declares the method `", $text, "` of a path, which requires `access`.")]
            pub fn $name<A, H, T, S>(access: A, handler: H) -> ProtectedMethodRouter<S>
            where
                A: RouteAccess<T>,
                H: Handler<T, S>,
                T: 'static,
                S: HasAuthority + Clone + Send + Sync + 'static,
            {
                ProtectedMethodRouter(Vec::new()).$name(access, handler)
            }
        )*

        impl<S> ProtectedMethodRouter<S>
        where
            S: HasAuthority + Clone + Send + Sync + 'static,
        {
            $(
                #[doc = concat!("Adds the method `", $text, "`, which requires `access`.")]
                pub fn $name<A, H, T>(self, access: A, handler: H) -> Self
                where
                    A: RouteAccess<T>,
                    H: Handler<T, S>,
                    T: 'static,
                {
                    self.with(MethodFilter::$method, $text, access.access(), handler)
                }
            )*

            fn with<H, T>(
                mut self,
                filter: MethodFilter,
                name: &'static str,
                access: Access,
                handler: H,
            ) -> Self
            where
                H: Handler<T, S>,
                T: 'static,
            {
                self.0.push(Method {
                    name,
                    access,
                    handler: Box::new(move |guard, responder| {
                        on(filter, GuardedHandler::new(handler, guard, responder))
                    }),
                });
                self
            }
        }
    };
}

methods! {
    connect, CONNECT, "CONNECT";
    delete, DELETE, "DELETE";
    get, GET, "GET";
    head, HEAD, "HEAD";
    options, OPTIONS, "OPTIONS";
    patch, PATCH, "PATCH";
    post, POST, "POST";
    put, PUT, "PUT";
    trace, TRACE, "TRACE";
}

impl<S> fmt::Debug for ProtectedMethodRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.0.iter().map(|method| (method.name, &method.access));
        f.debug_map().entries(methods).finish()
    }
}
