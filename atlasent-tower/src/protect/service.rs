//! The service behind [`ProtectLayer`](crate::ProtectLayer).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use atlasent::Authority;
use http::{Request, Response};
use tower_service::Service;

use super::permit::obtain_permit_within;
use super::repeat;
use super::responder::Responder;
use crate::prefer::{add_applied, wait_within};
use crate::{ResponseBody, Target, ready};

/// The authority and the target of a [`ProtectLayer`](crate::ProtectLayer).
pub(super) struct PermitSource<P, T> {
    pub(super) authority: P,
    pub(super) target: T,
}

/// A service that calls its inner service only with a permit, made by
/// [`ProtectLayer`](crate::ProtectLayer).
pub struct ProtectService<I, P, T> {
    inner: I,
    // Shared as a whole: a router clones its services for each request.
    settings: Arc<Settings<P, T>>,
}

/// The settings of a service, which every request shares.
struct Settings<P, T> {
    source: Arc<PermitSource<P, T>>,
    responder: Responder,
    /// The longest time for which a request waits for approvers.
    max_wait: Duration,
    /// Whether the inner service repeats calls.
    repeats: bool,
}

impl<I, P, T> ProtectService<I, P, T> {
    pub(super) fn new(
        inner: I,
        source: Arc<PermitSource<P, T>>,
        responder: Responder,
        max_wait: Duration,
    ) -> Self {
        Self {
            inner,
            settings: Arc::new(Settings {
                source,
                responder,
                max_wait,
                repeats: repeat::repeats::<I>(),
            }),
        }
    }
}

/// The future of a [`ProtectService`]. Dropping it cancels the call.
pub type ProtectFuture<R, E> =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send>>;

impl<I, P, T, B, R> Service<Request<B>> for ProtectService<I, P, T>
where
    I: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    P: Authority + 'static,
    T: Target,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = I::Error;
    type Future = ProtectFuture<R, I::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = ready::take(&mut self.inner);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            let Settings {
                source,
                responder,
                max_wait,
                repeats,
            } = &*settings;
            let (mut parts, body) = request.into_parts();
            if *repeats {
                return Ok(responder.refuse(&repeat::refusal(), &parts));
            }
            let wait = wait_within(&parts.headers, *max_wait);
            let PermitSource { authority, target } = &**source;
            let mut response = match obtain_permit_within(authority, target, &mut parts, wait).await
            {
                Ok(execution) => {
                    let request = Request::from_parts(parts, body);
                    responder.execute(Some(execution), inner, request).await?
                }
                Err(refusal) => responder.refuse(&refusal, &parts),
            };
            if let Some(wait) = wait {
                add_applied(&mut response, wait.as_secs());
            }
            Ok(response)
        })
    }
}

impl<I: Clone, P, T> Clone for ProtectService<I, P, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<I, P, T> fmt::Debug for ProtectService<I, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectService").finish_non_exhaustive()
    }
}
