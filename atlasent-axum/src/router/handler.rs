//! A handler that runs after its guard has accepted the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use atlasent_tower::{Guard, Refusal, Respond};
use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use http::request::Parts;

use crate::HasAuthority;

/// A handler that is called after its guard has accepted the request.
#[derive(Clone)]
pub(super) struct Guarded<H> {
    handler: H,
    guard: Arc<Guard>,
    responder: Arc<dyn Respond>,
}

impl<H> Guarded<H> {
    pub(super) fn new(handler: H, guard: Guard, responder: Arc<dyn Respond>) -> Self {
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
                    let request = Request::from_parts(parts, body);
                    let mut response = self.handler.call(request, state).await;
                    if let Some(execution) = execution {
                        let record = execution.finish(response.status().is_server_error());
                        let record = Arc::unwrap_or_clone(record);
                        response.extensions_mut().insert(record);
                    }
                    response
                }
                Err(refusal) => respond(&*self.responder, &refusal, &parts),
            };
            self.guard.complete_challenge(response)
        })
    }
}

pub(super) fn respond(responder: &dyn Respond, refusal: &Refusal, request: &Parts) -> Response {
    refusal.answer(responder, request).map(Body::from)
}
