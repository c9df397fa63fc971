//! A served way to a protected handler, and a client for one version of HTTP.

use std::sync::Arc;

use atlasent_tests::Ran;
use bytes::Bytes;
use http::{Method, Request, Version, header};

use crate::asking::{Answer, VERSIONS, asking, client, send};
use crate::scripted::Scripted;
use crate::serving::Served;
use crate::ways::{App, PATH, Way, ways};
use crate::wire::{Body, Wire, full};

pub(crate) struct Stage {
    /// The name in failures.
    pub(crate) case: String,
    pub(crate) authority: Arc<Scripted>,
    pub(crate) ran: Arc<Ran>,
    pub(crate) version: Version,
    way: Way,
    served: Served,
    client: reqwest::Client,
}

/// Checks each way over each version, each on its own service.
pub(crate) async fn by_every_way(check: impl AsyncFn(&Stage)) {
    for way in ways() {
        for version in VERSIONS {
            check(&Stage::new(way, version).await).await;
        }
    }
}

impl Stage {
    async fn new(way: Way, version: Version) -> Self {
        let app = App::new();
        Self {
            case: format!("{}, {version:?}", way.name),
            authority: Arc::clone(&app.scripted),
            ran: Arc::clone(&app.ran),
            version,
            way,
            served: Served::new((way.app)(app)).await,
            client: client(version),
        }
    }

    /// Creates the request of this way.
    pub(crate) fn request(&self, token: Option<&str>) -> Request<Bytes> {
        let mut request = asking(Method::POST, PATH, token);
        let (kind, body) = self.way.body;
        let kind = header::HeaderValue::from_static(kind);
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        *request.body_mut() = Bytes::from_static(body.as_bytes());
        request
    }

    /// Sends the request, and panics if the connection fails.
    pub(crate) async fn ask(&self, token: Option<&str>) -> Answer {
        self.try_ask(token)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", self.case))
    }

    pub(crate) async fn try_ask(&self, token: Option<&str>) -> Result<Answer, reqwest::Error> {
        let answer = send(&self.client, self.served.address, self.request(token)).await?;
        assert_eq!(answer.version, self.version, "{}", self.case);
        Ok(answer)
    }

    /// Opens a new connection.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.served.address, self.version).await
    }

    /// Creates the request of this way for this connection.
    pub(crate) fn request_on(&self, wire: &Wire) -> Request<Body> {
        let (kind, body) = self.way.body;
        let mut request = wire.request(Method::POST, PATH, full(body));
        let kind = header::HeaderValue::from_static(kind);
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request
    }
}
