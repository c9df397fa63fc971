//! One way to a protected handler, served, and a client that asks by one version of HTTP.

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
    /// What failures show.
    pub(crate) case: String,
    pub(crate) authority: Arc<Scripted>,
    pub(crate) ran: Arc<Ran>,
    pub(crate) version: Version,
    way: Way,
    served: Served,
    client: reqwest::Client,
}

/// Checks each way by each version, on a service of its own.
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

    /// The request that this way is for.
    pub(crate) fn request(&self, token: Option<&str>) -> Request<Bytes> {
        let mut request = asking(Method::POST, PATH, token);
        let (kind, body) = self.way.body;
        let kind = header::HeaderValue::from_static(kind);
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        *request.body_mut() = Bytes::from_static(body.as_bytes());
        request
    }

    /// Asks, and fails if the connection does.
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

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.served.address, self.version).await
    }

    /// The request that this way is for, as it goes over this connection.
    pub(crate) fn request_on(&self, wire: &Wire) -> Request<Body> {
        let (kind, body) = self.way.body;
        let mut request = wire.request(Method::POST, PATH, full(body));
        let kind = header::HeaderValue::from_static(kind);
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request
    }
}
