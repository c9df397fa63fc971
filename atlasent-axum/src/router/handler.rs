//! Calls a handler after its guard has accepted the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use atlasent_tower::{AppliedWait, ProblemDetails, Refusal, Respond, RouteGuard};
use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use http::request::Parts;

use crate::HasAuthority;
use crate::rejected::replace_marked;

/// A handler that is called after its guard has accepted the request.
#[derive(Clone)]
pub(super) struct GuardedHandler<H> {
    handler: H,
    guard: Arc<RouteGuard>,
    responder: Responder,
}

impl<H> GuardedHandler<H> {
    pub(super) fn new(handler: H, guard: RouteGuard, responder: Responder) -> Self {
        Self {
            handler,
            guard: Arc::new(guard),
            responder,
        }
    }
}

/// The marker type for `GuardedHandler`'s signature, which must differ from those of functions.
pub(super) struct GuardedSignature<T>(T);

impl<H, T, S> Handler<GuardedSignature<T>, S> for GuardedHandler<H>
where
    H: Handler<T, S>,
    S: HasAuthority + Clone + Send + Sync + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let authority = state.authority();
            let authorized = self.guard.authorize(authority.as_dyn(), &mut parts).await;
            let wait = AppliedWait::of_request(&parts);
            let mut response = match authorized {
                Ok(execution) => {
                    let custom = self.responder.custom_responder(&parts);
                    let request = Request::from_parts(parts, body);
                    let mut response = self.handler.call(request, state).await;
                    if let Some((responder, parts)) = custom {
                        response = replace_marked(response, responder, &parts).await;
                    }
                    if let Some(execution) = execution {
                        let record = execution.finish(response.status().is_server_error());
                        let record = Arc::unwrap_or_clone(record);
                        response.extensions_mut().insert(record);
                    }
                    response
                }
                Err(refusal) => self.responder.refuse(&refusal, &parts),
            };
            wait.add_to(&mut response);
            self.guard.complete_challenge(response)
        })
    }
}

/// Builds the responses of a router to refused requests.
#[derive(Clone)]
pub(super) struct Responder {
    respond: Arc<dyn Respond>,
    is_custom: bool,
}

impl Responder {
    pub(super) fn new(respond: impl Respond) -> Self {
        Self {
            respond: Arc::new(respond),
            is_custom: true,
        }
    }

    /// Logs the refusal and builds its response.
    pub(super) fn refuse(&self, refusal: &Refusal, request: &Parts) -> Response {
        refusal.answer(&*self.respond, request).map(Body::from)
    }

    /// Returns the responder that was set, with a copy of the request for it, since the handler
    /// consumes the request. The default responder leaves the responses of extractors unchanged and
    /// needs no copy.
    fn custom_responder(&self, request: &Parts) -> Option<(&dyn Respond, Parts)> {
        self.is_custom.then(|| (&*self.respond, request.clone()))
    }
}

impl Default for Responder {
    fn default() -> Self {
        Self {
            respond: Arc::new(ProblemDetails),
            is_custom: false,
        }
    }
}
