//! Protects gRPC servers in which every method declares its access. Undeclared methods are refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ati_client::RateStore;
use atlasent::Authority;
use atlasent::authority::DynAuthority;
use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::prefer::AppliedWait;
use crate::protect::{ProtectFuture, Responder, repeat};
use crate::{
    Access, AtiLayer, Authentication, GrpcStatus, Refusal, Respond, Route, RouteGuard, RouteTable,
    check_request_path, ready,
};

/// A layer for gRPC servers. Every method declares its action, or that it is public. An undeclared
/// method is refused as if it did not exist. A refused gRPC call gets a gRPC status, and any other
/// refused request problem details: see [`GrpcStatus`].
///
/// ```
/// # use ati_client::{SigningKey, Verifier};
/// # use atlasent::testing::MockAuthority;
/// use atlasent_tower::{Access, AtiLayer, ProtectedMethods};
///
/// # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// # let verifier = Verifier::builder(key.verifying_key()).build()?;
/// # let authority = MockAuthority::new();
/// let methods = ProtectedMethods::new(authority)
///     .authenticate(AtiLayer::new(verifier))
///     .method("clinic.v1.Patients/Read", Access::action("read_patient_record").scope("tool:ehr:read"))
///     .method("clinic.v1.Patients/Modify", Access::in_handler("modify_patient_record"))
///     .method("grpc.health.v1.Health/Check", Access::public());
///
/// assert_eq!(methods.table().to_string(), "\
/// METHOD  PATH                          ACTION                 SCOPE
/// gRPC    /clinic.v1.Patients/Modify    modify_patient_record
/// gRPC    /clinic.v1.Patients/Read      read_patient_record    tool:ehr:read
/// gRPC    /grpc.health.v1.Health/Check  (public)
/// ");
/// // With tonic: Server::builder().layer(methods).add_service(…)
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone)]
pub struct ProtectedMethods {
    /// A method with more than one access is refused.
    methods: HashMap<String, Vec<Access>>,
    authentication: Option<Authentication>,
    authority: Arc<dyn DynAuthority>,
    responder: Responder,
    max_wait: Duration,
}

impl ProtectedMethods {
    /// Creates a layer without methods, which refuses all calls.
    #[must_use]
    pub fn new(authority: impl Authority + 'static) -> Self {
        Self {
            methods: HashMap::new(),
            authentication: None,
            authority: Arc::new(authority),
            responder: Responder::new(GrpcStatus),
            max_wait: Duration::ZERO,
        }
    }

    /// Sets the longest time for which a call waits for approvers, as
    /// [`ProtectLayer::max_wait`](crate::ProtectLayer::max_wait) does: the caller asks for a wait
    /// with the metadata `prefer: wait=N`. A second call replaces the maximum.
    #[must_use]
    pub fn max_wait(mut self, at_most: Duration) -> Self {
        self.max_wait = at_most;
        self
    }

    /// Authenticates the callers of all methods that are not public, whether they are declared
    /// before or after this call. A second call adds a layer: a request has to pass both.
    #[must_use]
    pub fn authenticate<S: RateStore>(mut self, layer: AtiLayer<S>) -> Self {
        self.authentication = Some(match self.authentication {
            Some(outer) => outer.and(layer),
            None => layer.into(),
        });
        self
    }

    /// Declares what a method requires. The name has the form `package.Service/Method`. A second
    /// call adds another method.
    ///
    /// A method that is declared twice is a misconfiguration, since either declaration would drop
    /// the requirements of the other: each of its calls gets 13 `INTERNAL`, and the table shows
    /// both.
    #[must_use]
    pub fn method(mut self, name: &str, access: Access) -> Self {
        let name = name.strip_prefix('/').unwrap_or(name);
        self.methods
            .entry(name.to_owned())
            .or_default()
            .push(access);
        self
    }

    /// Sets the responder that builds the responses to refused calls. The default is
    /// [`GrpcStatus`]. A second call replaces the responder.
    #[must_use]
    pub fn respond_with(mut self, responder: impl Respond) -> Self {
        self.responder = Responder::new(responder);
        self
    }

    /// Returns a table of all methods and what they require.
    #[must_use]
    pub fn table(&self) -> RouteTable {
        let methods = self.methods.iter();
        methods
            .flat_map(|(name, accesses)| {
                let route = move |access| Route::new("gRPC", format!("/{name}"), access);
                accesses.iter().map(route)
            })
            .collect()
    }
}

impl fmt::Debug for ProtectedMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedMethods")
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

impl<I> Layer<I> for ProtectedMethods {
    type Service = ProtectedMethodsService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        let guard = |access: &Access| {
            RouteGuard::new(self.authentication.as_ref(), access.clone()).max_wait(self.max_wait)
        };
        let guards = self.methods.iter().map(|(name, accesses)| {
            let guards = accesses.iter().map(guard);
            (name.clone(), guards.collect())
        });
        ProtectedMethodsService {
            inner,
            shared: Arc::new(Shared {
                guards: guards.collect(),
                authority: Arc::clone(&self.authority),
                responder: self.responder.clone(),
                repeats: repeat::repeats::<I>(),
            }),
        }
    }
}

/// A gRPC server that calls only declared methods, each behind its guard, made by
/// [`ProtectedMethods`].
#[derive(Clone)]
pub struct ProtectedMethodsService<I> {
    inner: I,
    shared: Arc<Shared>,
}

struct Shared {
    guards: HashMap<String, Vec<RouteGuard>>,
    authority: Arc<dyn DynAuthority>,
    responder: Responder,
    /// Whether the inner service repeats calls.
    repeats: bool,
}

impl Shared {
    fn guard(&self, request: &mut Parts) -> Result<&RouteGuard, Refusal> {
        if self.repeats {
            return Err(repeat::refusal());
        }
        check_request_path(request)?;
        let name = request.uri.path().strip_prefix('/');
        let (name, guards) = name
            .and_then(|name| self.guards.get_key_value(name))
            .ok_or(Refusal::NotFound)?;
        match guards.as_slice() {
            [guard] => Ok(guard),
            _ => Err(Refusal::misconfigured(format!(
                "the method `{name}` is declared more than once: declare it once"
            ))),
        }
    }
}

impl<I, B, R> Service<Request<B>> for ProtectedMethodsService<I>
where
    I: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<crate::ResponseBody<R>>;
    type Error = I::Error;
    type Future = ProtectFuture<R, I::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = ready::take(&mut self.inner);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let guard = match shared.guard(&mut parts) {
                Ok(guard) => guard,
                Err(refusal) => return Ok(shared.responder.refuse(&refusal, &parts)),
            };
            let authorized = guard.authorize(&*shared.authority, &mut parts).await;
            let wait = AppliedWait::of_request(&parts);
            let mut response = match authorized {
                Ok(execution) => {
                    let request = Request::from_parts(parts, body);
                    shared.responder.execute(execution, inner, request).await?
                }
                Err(refusal) => shared.responder.refuse(&refusal, &parts),
            };
            wait.add_to(&mut response);
            Ok(guard.complete_challenge(response))
        })
    }
}

impl<I> fmt::Debug for ProtectedMethodsService<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedMethodsService")
            .field("guards", &self.shared.guards)
            .finish_non_exhaustive()
    }
}
