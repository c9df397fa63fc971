//! A handler that runs after its guard has accepted the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use atlasent_tower::{Guard, ProblemDetails, Refusal, Respond};
use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use http::request::Parts;

use crate::HasAuthority;
use crate::rejected::answer;

/// A handler that is called after its guard has accepted the request.
#[derive(Clone)]
pub(super) struct Guarded<H> {
    handler: H,
    guard: Arc<Guard>,
    responder: Responder,
}

impl<H> Guarded<H> {
    pub(super) fn new(handler: H, guard: Guard, responder: Responder) -> Self {
        Self {
            handler,
            guard: Arc::new(guard),
            responder,
        }
    }
}

/// The marker type for `Guarded`'s signature, which must differ from those of functions.
pub(super) struct Behind<T>(T);

impl<H, T, S> Handler<Behind<T>, S> for Guarded<H>
where
    H: Handler<T, S>,
    S: HasAuthority + Clone + Send + Sync + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let authority = state.authority();
            let passed = self.guard.pass(authority.as_dyn(), &mut parts).await;
            let response = match passed {
                Ok(execution) => {
                    let custom = self.responder.custom(&parts);
                    let request = Request::from_parts(parts, body);
                    let mut response = self.handler.call(request, state).await;
                    if let Some((responder, parts)) = custom {
                        response = answer(response, responder, &parts).await;
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
            self.guard.complete_challenge(response)
        })
    }
}

/// Builds the responses of a router to what is not let through.
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

    pub(super) fn refuse(&self, refusal: &Refusal, request: &Parts) -> Response {
        refusal.answer(&*self.respond, request).map(Body::from)
    }

    /// The service's own responder, with a copy of the request for it: the handler consumes the
    /// request. The default responder answers extractors as they answer themselves, so no copy is
    /// made for it.
    fn custom(&self, request: &Parts) -> Option<(&dyn Respond, Parts)> {
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
