//! Tests requests that two readers may parse differently, byte by byte: none of them reaches a
//! handler.

mod framing;
mod headers;
mod targets;

use crate::agents::good_token;
use crate::passing::allowing;
use crate::raw::{Head, Raw};
use crate::serving::Served;
use crate::ways::{App, Way, ways};

/// A served way to a handler, with an authority that allows everything.
struct Target {
    way: Way,
    app: App,
    served: Served,
}

async fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    for way in ways() {
        let app = allowing();
        let served = Served::new((way.app)(app.clone())).await;
        targets.push(Target { way, app, served });
    }
    targets
}

impl Target {
    /// Returns the bytes of a request; `headers` are lines.
    fn request(&self, target: &str, headers: &[u8]) -> Vec<u8> {
        let (kind, body) = self.way.body;
        let start = format!("POST {target} HTTP/1.1\r\nhost: x\r\n").into_bytes();
        let length = body.len();
        let end = format!("content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
        [&start, headers, end.as_bytes()].concat()
    }

    async fn send(&self, bytes: &[u8]) -> Option<Head> {
        let mut raw = Raw::connect(self.served.address).await;
        raw.write(bytes).await;
        raw.response().await.map(|(head, _)| head)
    }

    /// Asserts that the service or the HTTP parser refuses the request, and that the authority is
    /// not asked.
    async fn refuses(&self, bytes: &[u8], statuses: &[u16]) {
        let head = self.send(bytes).await;
        let case = format!(
            "{}: {}: {head:?}",
            self.way.name,
            String::from_utf8_lossy(bytes)
        );
        assert!(
            head.is_some_and(|head| statuses.contains(&head.status)),
            "{case}"
        );
        assert_eq!(self.app.ran.count(), 0, "{case}");
        assert_eq!(self.app.scripted.calls(), [], "{case}");
    }
}

/// Returns the header line of a valid token.
fn good_line() -> String {
    format!("authorization: Bearer {}\r\n", good_token())
}
