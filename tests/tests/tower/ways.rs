//! All ways through `atlasent-tower` to an inner service. Each way asks the authority about the
//! same agent and action.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use ati_client::{RateLimiter, RateSpec, RateStore, RateUnit, RateWindow};
use atlasent::authority::DynAuthority;
use atlasent::permit::Execution;
use atlasent::{Action, AnyAction, Authority, Permit};
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tests::yields;
use atlasent_tower::{
    Access, AtiLayer, Authentication, PermitRequest, PermitSlot, ProblemDetails, ProtectLayer,
    ProtectedMethods, Refusal, RequestTarget, Respond, RouteGuard, TakePermitLayer, Target,
    obtain_permit,
};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::agents::{agent, any_token, bearing, token, verifier};
use crate::inner::{Body, Broken, Inner};

pub(crate) type Boxed =
    BoxCloneService<Request<Body>, Response<BoxBody<Bytes, Infallible>>, Broken>;

/// The path of all requests. It is also a gRPC method.
pub(crate) const PATH: &str = "/cluster.v1.Clusters/Deploy";

/// One way to an inner service.
pub(crate) struct Way<P> {
    pub(crate) name: &'static str,
    /// Wraps an inner service.
    pub(crate) around: fn(Arc<P>, Inner) -> Boxed,
    /// Creates a request that passes if the authority allows it.
    pub(crate) request: fn() -> Request<Body>,
    /// How often the future is pending before the authority is asked.
    pub(crate) waits: usize,
}

pub(crate) fn ways<P: Authority + 'static>() -> Vec<Way<P>> {
    let way = |name, around: fn(Arc<P>, Inner) -> Boxed| Way {
        name,
        around,
        request: || bearing(PATH, any_token()),
        waits: 0,
    };
    vec![
        way("an action", |authority, inner| {
            boxed(ProtectLayer::new(authority, fixed()).layer(inner))
        }),
        way("a typed action", |authority, inner| {
            boxed(ProtectLayer::new(authority, typed()).layer(inner))
        }),
        way(
            "an action, and the layer that takes its permit",
            |authority, inner| {
                let layers = (
                    ProtectLayer::new(authority, fixed()),
                    TakePermitLayer::new(),
                );
                boxed(layers.layer(inner))
            },
        ),
        way(
            "a typed action, and the layer that takes its permit",
            |authority, inner| {
                let take = TakePermitLayer::<Deploy>::typed();
                boxed((ProtectLayer::new(authority, typed()), take).layer(inner))
            },
        ),
        Way {
            waits: 1,
            ..way("a target of its own", |authority, inner| {
                boxed(ProtectLayer::new(authority, Directory).layer(inner))
            })
        },
        way("an authority behind a pointer", |authority, inner| {
            let authority: Arc<dyn DynAuthority> = authority;
            boxed(ProtectLayer::new(authority, fixed()).layer(inner))
        }),
        way("the agent of a token", |authority, inner| {
            let protect = ProtectLayer::new(authority, RequestTarget::action(ACTION));
            boxed((AtiLayer::new(verifier()), protect).layer(inner))
        }),
        Way {
            request: || {
                let rate = RateSpec::new(1_000_000, RateUnit::Day);
                bearing(PATH, &token(agent().scope("*").rate("tool:*", rate)))
            },
            waits: 1,
            ..way("the agent of a token, counted", |authority, inner| {
                let ati = AtiLayer::new(verifier()).scope("tool:deploy");
                let ati = ati.rates(RateLimiter::with_store(SlowRates));
                let protect = ProtectLayer::new(authority, RequestTarget::action(ACTION));
                boxed((ati, protect).layer(inner))
            })
        },
        way("a gRPC method", |authority, inner| {
            let methods = methods(authority, Access::action(ACTION).scope("tool:deploy"));
            boxed(methods.layer(inner))
        }),
        way("a gRPC method behind two layers", |authority, inner| {
            let methods = methods(authority, Access::action(ACTION));
            boxed(methods.authenticate(AtiLayer::new(verifier())).layer(inner))
        }),
        way("a gRPC method of a typed action", |authority, inner| {
            boxed(methods(authority, Access::target(typed())).layer(inner))
        }),
        way("a guard", by_guard),
        way("obtain_permit", by_obtain_permit),
    ]
}

pub(crate) fn boxed<S, R>(service: S) -> Boxed
where
    S: Service<Request<Body>, Response = Response<R>, Error = Broken> + Clone + Send + 'static,
    S::Future: Send,
    R: BodyExt<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
{
    let boxed = |response: Response<R>| response.map(BodyExt::boxed);
    service.map_response(boxed).boxed_clone()
}

pub(crate) fn fixed() -> RequestTarget {
    RequestTarget::action(ACTION).agent(AGENT)
}

#[derive(Action)]
#[action("deploy.production")]
pub(crate) struct Deploy {
    #[action(resource)]
    pub(crate) cluster: String,
}

pub(crate) fn typed() -> RequestTarget<Deploy> {
    RequestTarget::action_from(|_| {
        let cluster = "prod-1".to_owned();
        Ok(Deploy { cluster })
    })
    .agent(AGENT)
}

/// A target that waits for a lookup.
struct Directory;

impl Target for Directory {
    type Action = AnyAction;

    async fn permit_request(&self, _: &Parts) -> Result<PermitRequest<AnyAction>, Refusal> {
        yields(1).await;
        Ok(PermitRequest::new(AGENT, AnyAction::new(ACTION)?)?)
    }
}

/// A rate store that admits every call, after some polls.
struct SlowRates;

impl RateStore for SlowRates {
    async fn count_call(
        &self,
        windows: &[RateWindow<'_>],
        _: SystemTime,
    ) -> Result<(), ati_client::Error> {
        assert_eq!(windows.len(), 1);
        yields(1).await;
        Ok(())
    }
}

fn methods<P: Authority + 'static>(authority: Arc<P>, access: Access) -> ProtectedMethods {
    ProtectedMethods::new(authority)
        .authenticate(AtiLayer::new(verifier()))
        .method(PATH, access)
}

fn by_guard<P: Authority + 'static>(authority: Arc<P>, inner: Inner) -> Boxed {
    let authentication = Authentication::from(AtiLayer::new(verifier()));
    let guard = RouteGuard::new(Some(&authentication), Access::action(ACTION));
    boxed(service_fn(move |request: Request<Body>| {
        let (authority, guard, inner) = (Arc::clone(&authority), guard.clone(), inner.clone());
        async move {
            let (mut parts, body) = request.into_parts();
            let passed = guard.authorize(&*authority, &mut parts).await;
            let passed = passed.map(|execution| execution.unwrap());
            finish(passed, inner, parts, body).await
        }
    }))
}

fn by_obtain_permit<P: Authority + 'static>(authority: Arc<P>, inner: Inner) -> Boxed {
    boxed(service_fn(move |request: Request<Body>| {
        let (authority, inner) = (Arc::clone(&authority), inner.clone());
        async move {
            let (mut parts, body) = request.into_parts();
            let permitted = obtain_permit(&authority, &fixed(), &mut parts).await;
            let slot = parts.extensions.get::<PermitSlot>();
            let permit: Option<Permit> = slot.and_then(PermitSlot::take);
            assert_eq!(permit.is_some(), permitted.is_ok());
            finish(permitted, inner, parts, body).await
        }
    }))
}

async fn finish(
    permitted: Result<Execution, Refusal>,
    inner: Inner,
    parts: Parts,
    body: Body,
) -> Result<Response<Body>, Broken> {
    match permitted {
        Ok(execution) => {
            let result = inner.oneshot(Request::from_parts(parts, body)).await;
            let record = execution.finish(result.is_err());
            let mut response = result?;
            response
                .extensions_mut()
                .insert(Arc::unwrap_or_clone(record));
            Ok(response)
        }
        Err(refusal) => Ok(ProblemDetails.respond(&refusal, &parts).map(Body::new)),
    }
}
