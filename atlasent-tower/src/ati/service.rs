//! The service behind [`AtiLayer`](crate::AtiLayer).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ati_client::{MemoryRates, RateStore};
use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::check::Config;
use crate::challenge::ChallengeParameters;
use crate::{Refusal, ResponseBody, ready};

/// A service that authenticates its requests, made by [`AtiLayer`](crate::AtiLayer).
pub struct AtiService<I, S = MemoryRates> {
    inner: I,
    config: Arc<Config<S>>,
}

impl<I, S> AtiService<I, S> {
    pub(super) fn new(inner: I, config: Arc<Config<S>>) -> Self {
        Self { inner, config }
    }
}

impl<I, S, B, R> Service<Request<B>> for AtiService<I, S>
where
    I: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    I::Future: Send,
    S: RateStore,
    B: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = I::Error;
    type Future = AtiFuture<I::Future, R, I::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let state = match self.config.authenticate(&mut parts) {
            Err(refusal) => {
                // Gives back what the ready inner service has reserved, such as a place under a
                // limit.
                drop(ready::take(&mut self.inner));
                State::Refused {
                    response: Some(self.config.refuse(&refusal, &parts)),
                }
            }
            // The usual case: nothing to wait for, so no allocation.
            Ok(None) => State::Inner {
                future: self.inner.call(Request::from_parts(parts, body)),
                challenge: self.config.challenge.clone(),
            },
            Ok(Some(call)) => {
                let mut inner = ready::take(&mut self.inner);
                let config = Arc::clone(&self.config);
                let future = Box::pin(async move {
                    if let Err(refusal) = call.count(&config.rates).await {
                        return Ok(config.refuse(&refusal, &parts));
                    }
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(ResponseBody::inner(config.challenge.complete(response)))
                });
                State::Counting { future }
            }
        };
        AtiFuture { state }
    }
}

impl<S> Config<S> {
    fn refuse<R>(&self, refusal: &Refusal, request: &Parts) -> Response<ResponseBody<R>> {
        let response = refusal.answer(&*self.responder, request);
        ResponseBody::refusal(self.challenge.complete(response))
    }
}

impl<I: Clone, S> Clone for AtiService<I, S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<I, S> fmt::Debug for AtiService<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtiService").finish_non_exhaustive()
    }
}

type Counting<R, E> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send>>;

pin_project! {
    /// The future of an [`AtiService`]. Dropping it drops the call.
    pub struct AtiFuture<F, R, E> {
        #[pin]
        state: State<F, R, E>,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<F, R, E> {
        Inner { #[pin] future: F, challenge: ChallengeParameters },
        Counting { future: Counting<R, E> },
        Refused { response: Option<Response<ResponseBody<R>>> },
    }
}

impl<F, R, E> Future for AtiFuture<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProject::Inner { future, challenge } => future.poll(context).map(|result| {
                let response = challenge.complete(result?);
                Ok(ResponseBody::inner(response))
            }),
            StateProject::Counting { future } => future.as_mut().poll(context),
            // Polled again after completion, it stays pending, as futures may.
            StateProject::Refused { response } => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
        }
    }
}

impl<F, R, E> fmt::Debug for AtiFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtiFuture").finish_non_exhaustive()
    }
}
