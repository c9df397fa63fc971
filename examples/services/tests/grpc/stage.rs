//! Runs the example's server on its own socket, and issues tokens for it.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ati_client::{Claims, ClaimsBuilder, SigningKey, Verifier, issue};
use atlasent::authority::DynAuthority;
use atlasent_tests::Ran;
use atlasent_tower::ProtectedMethods;
use clinic::{Records, grpc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Error, Server};
use tower::util::MapRequestLayer;

pub(crate) const AGENT: &str = "chart-bot";
pub(crate) const PATIENT: &str = "patient-7";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let secret = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";
    SigningKey::from_hex(secret).unwrap()
});

pub(crate) fn verifier() -> Verifier {
    Verifier::builder(KEY.verifying_key()).build().unwrap()
}

/// Issues a token that grants both tools.
pub(crate) fn token(agent: &str) -> String {
    token_with(agent, |claims| claims)
}

/// Issues a token that grants both tools, with other claims changed.
pub(crate) fn token_with(
    agent: &str,
    change: impl FnOnce(ClaimsBuilder) -> ClaimsBuilder,
) -> String {
    let claims = Claims::builder(agent).scopes(["tool:ehr:read", "tool:ehr:write"]);
    token_of(change(claims))
}

pub(crate) fn token_of(claims: ClaimsBuilder) -> String {
    issue(&claims.build().unwrap(), &KEY).unwrap()
}

/// A server that runs until it is dropped.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) records: Arc<Records>,
    /// Counts the calls that pass the guards, including those whose handler then asks the
    /// authority.
    pub(crate) passed: Arc<Ran>,
    server: JoinHandle<Result<(), Error>>,
}

impl Stage {
    /// Starts the server of the example with this authority.
    pub(crate) async fn example(authority: Arc<impl DynAuthority + 'static>) -> Self {
        let records = Arc::new(Records::sample());
        let server = grpc::server(authority, verifier(), Arc::clone(&records));
        Self::start(records, |incoming| server.serve_with_incoming(incoming)).await
    }

    /// Starts the server of the example, and counts between the guards and the services.
    pub(crate) async fn counted(authority: Arc<impl DynAuthority + 'static>) -> Self {
        let records = Arc::new(Records::sample());
        let routes = grpc::routes(authority.clone(), Arc::clone(&records));
        Self::of_parts(grpc::methods(authority, verifier()), routes, records).await
    }

    /// Starts a server with these guards and services, and counts between them.
    pub(crate) async fn of_parts(
        methods: ProtectedMethods,
        routes: Routes,
        records: Arc<Records>,
    ) -> Self {
        let passed = Arc::new(Ran::new());
        let count = Arc::clone(&passed);
        let server = Server::builder()
            .layer(methods)
            .layer(MapRequestLayer::new(move |request: http::Request<_>| {
                count.hit();
                request
            }))
            .add_routes(routes);
        let mut stage = Self::start(records, |incoming| server.serve_with_incoming(incoming)).await;
        stage.passed = passed;
        stage
    }

    pub(crate) async fn start<F>(
        records: Arc<Records>,
        serve: impl FnOnce(TcpListenerStream) -> F,
    ) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            records,
            passed: Arc::default(),
            server: tokio::spawn(serve(TcpListenerStream::new(listener))),
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.unwrap().connect_lazy()
    }

    /// Returns the number of accesses to records.
    pub(crate) fn accesses(&self) -> usize {
        self.records.accesses().len()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Waits up to a limit that a loaded machine keeps.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    timeout(limit, future).await.unwrap()
}
