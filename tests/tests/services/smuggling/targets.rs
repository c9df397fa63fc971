//! Tests request targets that can be read in different ways.

use super::{good_line, targets};
use crate::ways::PATH;

#[tokio::test]
async fn a_target_that_leads_elsewhere_when_it_is_normalized_leads_nowhere() {
    for target in targets().await {
        for path in [
            "//deploy/prod-1",
            "/./deploy/prod-1",
            "/../deploy/prod-1",
            "/%2e%2e/deploy/prod-1",
            "/x/../deploy/prod-1",
            "/deploy/../deploy/prod-1",
            "/deploy/x/%2e%2e/prod-1",
            "/%64eploy/prod-1",
            "/deploy\\prod-1",
            "http://x/../deploy/prod-1",
            "http://x//deploy/prod-1",
            "http://x/./deploy/prod-1",
            "http:///deploy/prod-1",
            "deploy/prod-1",
        ] {
            let request = target.request(path, good_line().as_bytes());
            target.refuses(&request, &[400, 404]).await;
        }
        // `#[protect]` decides on the values that axum decoded, not on the path.
        if target.way.name.starts_with("#[protect]") {
            continue;
        }
        for path in [
            "/deploy/%2e%2e",
            "/deploy/..",
            "/deploy/prod%2D1",
            "http://x/deploy/.",
        ] {
            let query = format!("{path}?cluster=prod-1");
            let request = target.request(&query, good_line().as_bytes());
            target.refuses(&request, &[400]).await;
        }
    }
}

/// A server has to accept an absolute form (RFC 9112 §3.2.2), which needs the same permit.
#[tokio::test]
async fn a_target_in_absolute_form_is_guarded_as_any_other() {
    for target in targets().await {
        let absolute = format!("http://elsewhere.example{PATH}");
        target
            .refuses(&target.request(&absolute, b""), &[401])
            .await;
        let request = target.request(&absolute, good_line().as_bytes());
        let head = target.send(&request).await.unwrap();
        assert_eq!(
            (head.status, target.app.ran.count()),
            (200, 1),
            "{}",
            target.way.name
        );
    }
}
