//! gRPC servers in which every method says what it asks for, and any other is refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ati_client::RateStore;
use atlasent::{Authority, DynAuthority};
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::protect::{Answers, ProtectFuture};
use crate::{
    Access, AtiLayer, Authentication, Guard, ProblemDetails, Refusal, Respond, Route, RouteTable,
    check_path, ready,
};

/// A layer for gRPC servers. Every method names its action, or says that it is public; what is not named is refused as if it was
/// not there.
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
    methods: HashMap<String, Access>,
    authentication: Option<Authentication>,
    authority: Arc<dyn DynAuthority>,
    answers: Answers,
}

impl ProtectedMethods {
    /// A layer without any method, so that all are refused.
    #[must_use]
    pub fn new(authority: impl Authority + 'static) -> Self {
        Self {
            methods: HashMap::new(),
            authentication: None,
            authority: Arc::new(authority),
            answers: Answers::new(Arc::new(ProblemDetails)),
        }
    }

    /// Finds out who calls, for all methods that are not public, in whatever order they are named.
    #[must_use]
    pub fn authenticate<S: RateStore>(mut self, layer: AtiLayer<S>) -> Self {
        self.authentication = Some(layer.into());
        self
    }

    /// Says what a method asks for, which is named like `package.Service/Method`. Said twice of one method, the last counts.
    #[must_use]
    pub fn method(mut self, name: &str, access: Access) -> Self {
        let name = name.strip_prefix('/').unwrap_or(name);
        self.methods.insert(name.to_owned(), access);
        self
    }

    /// Puts refusals to the caller in another way than [`ProblemDetails`].
    #[must_use]
    pub fn respond_with(mut self, responder: impl Respond) -> Self {
        self.answers = Answers::new(Arc::new(responder));
        self
    }

    /// All methods and what they ask for.
    #[must_use]
    pub fn table(&self) -> RouteTable {
        let methods = self.methods.iter();
        methods
            .map(|(name, access)| Route::new("gRPC", format!("/{name}"), access))
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
        let guards = self.methods.iter().map(|(name, access)| {
            let guard = Guard::new(self.authentication.as_ref(), access.clone());
            (name.clone(), guard)
        });
        ProtectedMethodsService {
            inner,
            shared: Arc::new(Shared {
                guards: guards.collect(),
                authority: Arc::clone(&self.authority),
                answers: self.answers.clone(),
            }),
        }
    }
}

/// A gRPC server behind the guards of its methods. It comes from [`ProtectedMethods`].
#[derive(Clone)]
pub struct ProtectedMethodsService<I> {
    inner: I,
    shared: Arc<Shared>,
}

struct Shared {
    guards: HashMap<String, Guard>,
    authority: Arc<dyn DynAuthority>,
    answers: Answers,
}

impl Shared {
    fn guard(&self, path: &str) -> Result<&Guard, Refusal> {
        check_path(path)?;
        let guard = path
            .strip_prefix('/')
            .and_then(|name| self.guards.get(name));
        guard.ok_or(Refusal::NotFound)
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
            let passed = match shared.guard(parts.uri.path()) {
                Ok(guard) => guard.pass(&*shared.authority, &mut parts).await,
                Err(refusal) => Err(refusal),
            };
            match passed {
                Ok(execution) => {
                    shared
                        .answers
                        .execute(execution, inner, Request::from_parts(parts, body))
                        .await
                }
                Err(refusal) => Ok(shared.answers.refuse(&refusal, &parts)),
            }
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
