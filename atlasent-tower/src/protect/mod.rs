//! The permit at the door: [`ProtectLayer`], the service that it makes, the slot that the permit
//! travels in, and [`TakePermitLayer`] at the other end.

pub(crate) mod repeat;
mod service;
pub(crate) mod slot;
mod take;

use std::fmt;
use std::sync::Arc;

use atlasent::Authority;
use tower_layer::Layer;

pub use service::{ProtectFuture, ProtectService};
pub use slot::PermitSlot;
pub use take::{TakePermitFuture, TakePermitLayer, TakePermitService};

use crate::{ProblemDetails, Respond, Target};

/// Lets a request through with a permit, and calls nothing without one.
///
/// The authority is asked about what the [`Target`] reads from the request. The permit then travels
/// in the request's extensions, in a [`PermitSlot`] that it can be taken from once, and its
/// [`PermitRecord`](atlasent::permit::PermitRecord) in the response's. An execution is told to `tracing` as
/// of every protected body: completed, failed (an error, or a 5xx) or cancelled.
///
/// ```
/// use atlasent::testing::MockAuthority;
/// use atlasent_tower::{ProtectLayer, RequestTarget};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # futures_executor::block_on(async {
/// let authority = MockAuthority::new().allow("deploy.production");
/// let target = RequestTarget::action("deploy.production").agent("deploy-bot");
/// let service = ProtectLayer::new(authority, target).layer(service_fn(async |_: Request<Full<Bytes>>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("deployed"))))
/// }));
/// let response = service.oneshot(Request::new(Full::default())).await?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), std::convert::Infallible>(()) }).unwrap();
/// ```
///
/// # One permit, one call
///
/// The layer calls its inner service once for each permit. A layer further in can call on more than
/// once, as those of `tower::retry` and `tower::hedge` do, and no permit was obtained for the
/// second call. So a retry stands **outside**, where each attempt gets a permit of its own:
///
/// ```text
/// Retry → ProtectLayer → service        each attempt is decided
/// ProtectLayer → Retry → service        refused
/// ```
///
/// Where `tower`'s `Retry` or `Hedge`, or the `FollowRedirect` of `tower-http`, stands directly
/// inside, or below other layers of these crates, every request is refused with 500. Behind a boxed
/// service, such as an axum route, or a layer of another crate, the order is not visible from here.
/// There
///
/// - a service that takes its permit from the [`PermitSlot`] runs once: a clone of the request
///   shares the slot, and a second call finds it empty;
/// - a service that takes no permit has to stand behind a [`TakePermitLayer`], which refuses the
///   second call.
pub struct ProtectLayer<P, T> {
    question: Arc<Question<P, T>>,
    answers: Answers,
}

/// What is asked of whom.
struct Question<P, T> {
    authority: P,
    target: T,
}

/// What callers are told.
#[derive(Clone)]
pub(crate) struct Answers {
    permit_headers: bool,
    responder: Arc<dyn Respond>,
}

impl<P: Authority, T: Target> ProtectLayer<P, T> {
    /// A layer that asks `authority` about what `target` reads. Layers share an authority behind an
    /// `Arc`.
    #[must_use]
    pub fn new(authority: P, target: T) -> Self {
        Self {
            question: Arc::new(Question { authority, target }),
            answers: Answers::new(Arc::new(ProblemDetails)),
        }
    }

    /// Also tells the caller of the permit, in the response's headers `x-atlasent-permit-id` and
    /// `x-atlasent-audit-hash`. The permit is used up by then. A second call changes nothing.
    #[must_use]
    pub fn permit_headers(mut self) -> Self {
        self.answers.permit_headers = true;
        self
    }

    /// Answers refusals by another responder than [`ProblemDetails`]. A second call replaces it.
    #[must_use]
    pub fn respond_with(mut self, responder: impl Respond) -> Self {
        self.answers.responder = Arc::new(responder);
        self
    }
}

impl<I, P, T> Layer<I> for ProtectLayer<P, T> {
    type Service = ProtectService<I, P, T>;

    fn layer(&self, inner: I) -> Self::Service {
        ProtectService::new(inner, Arc::clone(&self.question), self.answers.clone())
    }
}

impl<P, T> Clone for ProtectLayer<P, T> {
    fn clone(&self) -> Self {
        Self {
            question: Arc::clone(&self.question),
            answers: self.answers.clone(),
        }
    }
}

impl<P, T: fmt::Debug> fmt::Debug for ProtectLayer<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectLayer")
            .field("target", &self.question.target)
            .field("permit_headers", &self.answers.permit_headers)
            .finish_non_exhaustive()
    }
}
