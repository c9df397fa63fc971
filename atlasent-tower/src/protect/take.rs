//! Takes the permit of a request: [`TakePermitLayer`] calls its service once for each permit.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atlasent::authority::IssuerId;
use atlasent::{Action, AnyAction, Authority, Error};
use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{repeat, slot};
use crate::{PermitSlot, ProblemDetails, Refusal, Respond, ResponseBody, ready};

/// Calls its inner service only with a permit that no other call has taken. It is the innermost
/// layer, for services that take no permit themselves.
///
/// It takes the permit out of the [`PermitSlot`] of a [`ProtectLayer`](crate::ProtectLayer), and
/// puts it into a new slot for this call. A second call with a clone of the request finds the slot
/// empty; a rebuilt request has no slot. Both get 500, as does every request without a permit. A
/// permit that [expired](atlasent::Permit::is_active) on the way gets 403.
///
/// ```
/// use atlasent::testing::MockAuthority;
/// use atlasent_tower::{ProtectLayer, RequestTarget, TakePermitLayer};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # futures_executor::block_on(async {
/// # let authority = MockAuthority::new().allow("deploy.production");
/// # let target = RequestTarget::action("deploy.production").agent("deploy-bot");
/// # let deploy = service_fn(async |_: Request<Full<Bytes>>| {
/// #     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("deployed"))))
/// # });
/// let service = ServiceBuilder::new()
///     .layer(ProtectLayer::new(authority, target))
///     // … layers, one of which may repeat calls …
///     .layer(TakePermitLayer::new()) // `TakePermitLayer::<ModifyPatientRecord>::typed()` for a typed action
///     .service(deploy);
/// let response = service.oneshot(Request::new(Full::default())).await?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), std::convert::Infallible>(()) }).unwrap();
/// ```
///
/// Handlers that take the permit themselves, as by `atlasent_axum::TakePermit`, do not need this
/// layer.
pub struct TakePermitLayer<A = AnyAction> {
    issuer: Option<IssuerId>,
    responder: Arc<dyn Respond>,
    action: PhantomData<fn() -> A>,
}

impl TakePermitLayer {
    /// Creates a layer that takes permits for actions of the type [`AnyAction`].
    #[must_use]
    pub fn new() -> Self {
        Self::typed()
    }
}

impl<A: Action> TakePermitLayer<A> {
    /// Creates a layer that takes permits for actions of the type `A`.
    #[must_use]
    pub fn typed() -> Self {
        Self {
            issuer: None,
            responder: Arc::new(ProblemDetails),
            action: PhantomData,
        }
    }

    /// Requires permits of `authority`. By default, the permit of the innermost `ProtectLayer` is
    /// taken, whatever its authority. A second call replaces the authority.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Config`] if the authority has no [issuer](Authority::issuer).
    pub fn granted_by<P: Authority + ?Sized>(self, authority: &P) -> Result<Self, Error> {
        Ok(Self {
            issuer: Some(atlasent::authority::issuer_of(authority)?),
            ..self
        })
    }

    /// Sets the responder that builds the responses to refused requests. The default is
    /// [`ProblemDetails`]. A second call replaces the responder.
    #[must_use]
    pub fn respond_with(self, responder: impl Respond) -> Self {
        Self {
            responder: Arc::new(responder),
            ..self
        }
    }
}

impl Default for TakePermitLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, A> Layer<I> for TakePermitLayer<A> {
    type Service = TakePermitService<I, A>;

    fn layer(&self, inner: I) -> Self::Service {
        TakePermitService {
            inner,
            issuer: self.issuer,
            responder: Arc::clone(&self.responder),
            repeats: repeat::repeats::<I>(),
            action: PhantomData,
        }
    }
}

/// A service that is called once for each permit, made by [`TakePermitLayer`].
pub struct TakePermitService<I, A = AnyAction> {
    inner: I,
    issuer: Option<IssuerId>,
    responder: Arc<dyn Respond>,
    /// Whether the inner service repeats calls.
    repeats: bool,
    action: PhantomData<fn() -> A>,
}

impl<I, A, B, R> Service<Request<B>> for TakePermitService<I, A>
where
    I: Service<Request<B>, Response = Response<R>> + Clone,
    A: Action,
{
    type Response = Response<ResponseBody<R>>;
    type Error = I::Error;
    type Future = TakePermitFuture<I::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let taken = match self.repeats {
            true => Err(repeat::refusal()),
            false => take::<A>(self.issuer, &mut parts),
        };
        let state = match taken {
            Ok(()) => State::Inner {
                future: self.inner.call(Request::from_parts(parts, body)),
            },
            Err(refusal) => {
                // Gives back what the ready inner service has reserved.
                drop(ready::take(&mut self.inner));
                let response = refusal.answer(&*self.responder, &parts);
                State::Refused {
                    response: Some(ResponseBody::refusal(response)),
                }
            }
        };
        TakePermitFuture { state }
    }
}

/// Moves the permit from the slot that clones of the request share into a new slot for this call.
fn take<A: Action>(issuer: Option<IssuerId>, request: &mut Parts) -> Result<(), Refusal> {
    let permit = PermitSlot::<A>::take_from(&request.extensions)?;
    if let Some(issuer) = issuer {
        permit.require_issuer(issuer)?;
    }
    slot::put(permit, &mut request.extensions);
    Ok(())
}

pin_project! {
    /// The future of a [`TakePermitService`]. Dropping it drops the call.
    pub struct TakePermitFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<F, R> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<ResponseBody<R>>> },
    }
}

impl<F, R, E> Future for TakePermitFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProject::Inner { future } => future
                .poll(context)
                .map(|result| result.map(ResponseBody::inner)),
            // Polled again after completion, it stays pending, as futures may.
            StateProject::Refused { response } => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
        }
    }
}

impl<A> Clone for TakePermitLayer<A> {
    fn clone(&self) -> Self {
        Self {
            issuer: self.issuer,
            responder: Arc::clone(&self.responder),
            action: PhantomData,
        }
    }
}

impl<I: Clone, A> Clone for TakePermitService<I, A> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            issuer: self.issuer,
            responder: Arc::clone(&self.responder),
            repeats: self.repeats,
            action: PhantomData,
        }
    }
}

impl<A> fmt::Debug for TakePermitLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakePermitLayer").finish_non_exhaustive()
    }
}

impl<I, A> fmt::Debug for TakePermitService<I, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakePermitService").finish_non_exhaustive()
    }
}

impl<F, R> fmt::Debug for TakePermitFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakePermitFuture").finish_non_exhaustive()
    }
}
