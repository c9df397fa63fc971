//! A served app that is called over both versions of HTTP, which must answer alike.

use atlasent_axum::ProtectedRouter;
use http::{Method, Version, header};
use http_body_util::BodyExt;

use crate::asking::{Answer, VERSIONS};
use crate::serving::{Serve, Served};
use crate::ways::App;
use crate::wire::{Wire, empty, soon};

pub(crate) struct Door {
    app: App,
    served: Served,
}

/// How often a handler runs for one call: once for each version.
const BOTH: usize = VERSIONS.len();

impl Door {
    pub(crate) async fn new(app: &App, serve: Serve) -> Self {
        Self {
            app: app.clone(),
            served: Served::new(serve).await,
        }
    }

    pub(crate) async fn with_router(app: &App, router: ProtectedRouter<App>) -> Self {
        Self::new(app, router.with_state(app.clone()).into_make_service()).await
    }

    /// Sends a request, and asserts that the handler ran.
    pub(crate) async fn opens(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let before = self.app.ran.count();
        let answer = self.ask(method, path, token).await;
        let case = format!("{method} {path}: {answer:?}");
        assert_eq!(
            (answer.status.as_u16(), self.app.ran.count()),
            (200, before + BOTH),
            "{case}"
        );
        answer
    }

    /// Sends a request, and asserts that the handler did not run.
    pub(crate) async fn refuses(
        &self,
        status: u16,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> Answer {
        let before = self.app.ran.count();
        let answer = self.ask(method, path, token).await;
        let case = format!("{method} {path}");
        assert_eq!(self.app.ran.count(), before, "{case}");
        if method == "HEAD" {
            assert_eq!(answer.status.as_u16(), status, "{case}");
        } else {
            answer.problem(status, &case);
        }
        answer
    }

    /// Sends a request with an unchanged path.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let [one, two] = VERSIONS;
        let one = self.ask_by(one, method, path, token).await;
        let two = self.ask_by(two, method, path, token).await;
        assert_eq!(
            (one.status, &one.body),
            (two.status, &two.body),
            "{method} {path}"
        );
        one
    }

    async fn ask_by(
        &self,
        version: Version,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> Answer {
        let mut wire = Wire::connect(self.served.address, version).await;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = wire.request(method, path, empty());
        match token {
            Some(token) => {
                let token = format!("Bearer {token}").parse().unwrap();
                request.headers_mut().insert(header::AUTHORIZATION, token);
            }
            None => drop(request.headers_mut().remove(header::AUTHORIZATION)),
        }
        let response = soon(wire.send(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: soon(body.collect()).await.unwrap().to_bytes(),
        }
    }
}
