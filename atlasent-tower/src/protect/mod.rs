//! Obtains permits for requests: [`ProtectLayer`] obtains a permit, [`PermitSlot`] carries it in
//! the request, and [`TakePermitLayer`] takes it.

mod permit;
pub(crate) mod repeat;
mod responder;
mod service;
pub(crate) mod slot;
mod take;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Authority;
use tower_layer::Layer;

pub use permit::obtain_permit;
pub(crate) use responder::Responder;
pub use service::{ProtectFuture, ProtectService};
pub use slot::PermitSlot;
pub use take::{TakePermitFuture, TakePermitLayer, TakePermitService};

use crate::{ProblemDetails, Respond, Target};
use service::PermitSource;

/// Obtains a permit for each request, and calls the inner service only with it.
///
/// The [`Target`] reads the agent and the action from the request, and the authority decides. The
/// permit is put into the extensions of the request, in a [`PermitSlot`] from which it can be taken
/// once. Its [`PermitRecord`](atlasent::permit::PermitRecord) is put into the extensions of the
/// response. The execution is logged as that of every protected function, and where the authority
/// takes [receipts](atlasent::receipts), a receipt is sent. Its outcome is
///
/// - `completed` when the inner service returns a response of any other status than 5xx: a 4xx is
///   the answer of a service that ran,
/// - `failed` when it returns an error or a 5xx, which the receipt names, or panics,
/// - `cancelled` when the future is dropped first, as when the client disconnects.
///
/// The execution ends with the head of the response. A body that streams afterwards is not part of
/// it.
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
/// The layer calls its inner service once for each permit. An inner layer that repeats calls, as
/// those of `tower::retry` and `tower::hedge` do, would execute twice under one permit. So put a
/// retry **outside**, where each attempt gets its own permit:
///
/// ```text
/// Retry → ProtectLayer → service        each attempt is decided
/// ProtectLayer → Retry → service        refused
/// ```
///
/// If `Retry` or `Hedge` of `tower`, or `FollowRedirect` of `tower-http`, is directly inside, or
/// below other layers of these crates, every request gets 500. A boxed service, such as an axum
/// route, or a layer of another crate hides the order from this check. In that case:
///
/// - A service that takes its permit from the [`PermitSlot`] runs once: a clone of the request
///   shares the slot, and a second call finds it empty.
/// - A service that takes no permit needs a [`TakePermitLayer`] around it, which refuses the second
///   call.
pub struct ProtectLayer<P, T> {
    source: Arc<PermitSource<P, T>>,
    responder: Responder,
    max_wait: Duration,
}

impl<P: Authority, T: Target> ProtectLayer<P, T> {
    /// Creates a layer that asks `authority` for permits for the actions that `target` reads. To
    /// share an authority among layers, pass it in an `Arc`.
    #[must_use]
    pub fn new(authority: P, target: T) -> Self {
        Self {
            source: Arc::new(PermitSource { authority, target }),
            responder: Responder::new(ProblemDetails),
            max_wait: Duration::ZERO,
        }
    }

    /// Sets the longest time for which a request that the authority holds waits for approvers. The
    /// default is zero: no request waits. A second call replaces the maximum.
    ///
    /// A caller asks for a wait with the header `Prefer: wait=N`, in seconds (RFC 7240), and the
    /// response has `Preference-Applied: wait=N`. A request that was not approved in time gets 403,
    /// with the `escalation_id` and the `approval_url` of the escalation and `Retry-After`. The
    /// same request joins the escalation later. A waiting request holds its connection, so choose a
    /// maximum below the timeouts in front of the service.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use atlasent::testing::{MockAuthority, ScriptedApproval};
    /// # use atlasent_tower::{ProtectLayer, RequestTarget};
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use tower::{Layer, ServiceExt, service_fn};
    /// # futures_executor::block_on(async {
    /// # let approval = ScriptedApproval::approve();
    /// # let authority = MockAuthority::new().hold_for_approval("deploy.production", "two people", approval);
    /// # let target = RequestTarget::action("deploy.production").agent("deploy-bot");
    /// # let inner = service_fn(async |_: Request<Full<Bytes>>| {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("deployed"))))
    /// # });
    /// let layer = ProtectLayer::new(authority, target).max_wait(Duration::from_secs(60));
    /// let request = Request::post("/deploy").header("prefer", "wait=600").body(Full::default()).unwrap();
    /// let response = layer.layer(inner).oneshot(request).await?;
    /// assert_eq!(response.status(), 200);
    /// assert_eq!(response.headers()["preference-applied"], "wait=60");
    /// # Ok::<(), std::convert::Infallible>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn max_wait(mut self, at_most: Duration) -> Self {
        self.max_wait = at_most;
        self
    }

    /// Adds the headers `x-atlasent-permit-id` and `x-atlasent-audit-hash` to responses. The permit
    /// is already used up then. A second call changes nothing.
    #[must_use]
    pub fn permit_headers(mut self) -> Self {
        self.responder.permit_headers = true;
        self
    }

    /// Sets the responder that builds the responses to refused requests. The default is
    /// [`ProblemDetails`]. A second call replaces the responder.
    #[must_use]
    pub fn respond_with(mut self, responder: impl Respond) -> Self {
        self.responder.respond = Arc::new(responder);
        self
    }
}

impl<I, P, T> Layer<I> for ProtectLayer<P, T> {
    type Service = ProtectService<I, P, T>;

    fn layer(&self, inner: I) -> Self::Service {
        let (source, responder) = (Arc::clone(&self.source), self.responder.clone());
        ProtectService::new(inner, source, responder, self.max_wait)
    }
}

impl<P, T> Clone for ProtectLayer<P, T> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            responder: self.responder.clone(),
            max_wait: self.max_wait,
        }
    }
}

impl<P, T: fmt::Debug> fmt::Debug for ProtectLayer<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectLayer")
            .field("target", &self.source.target)
            .field("permit_headers", &self.responder.permit_headers)
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}
