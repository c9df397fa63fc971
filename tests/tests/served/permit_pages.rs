//! Pages of permits: how many permits and bytes one has, and the way to the next.

use atlasent::client::PermitFilter;
use futures_util::TryStreamExt;
use serde_json::json;

use crate::support::{Served, deploy};

#[tokio::test]
async fn a_large_page_ends_early_and_the_cursor_leads_to_the_rest() {
    let served = Served::start().await;
    // JSON writes a control character as six bytes.
    let reason = json!({"reason": "\u{1}".repeat(4_096)});
    let mut ids = Vec::new();
    for _ in 0..60 {
        let granted = served.evaluate(&deploy()).await.json();
        let id = granted["permit_id"].as_str().unwrap().to_owned();
        let target = format!("/v1/permits/{id}/revoke");
        let revoked = served.post(&target, &reason).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        ids.push(id);
    }
    ids.reverse();
    let (mut listed, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = served.get(&format!("/v1/permits?limit=500{cursor}")).await;
        assert!(page.text.len() < 600_000, "{} bytes", page.text.len());
        let page = page.json();
        assert_eq!(page["total"], 60);
        let permits = page["permits"].as_array().unwrap();
        assert!(!permits.is_empty());
        listed.extend(permits.iter().map(|permit| permit["id"].clone()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ids);
    assert_eq!(pages, 3);

    let client = served.client().build().unwrap();
    let streamed: Vec<_> = client
        .permit_stream(PermitFilter::default().limit(500))
        .map_ok(|permit| permit.id)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(streamed, ids);
}

#[tokio::test]
async fn a_page_of_ordinary_permits_has_up_to_500() {
    let served = Served::start().await;
    for _ in 0..501 {
        served.token().await;
    }
    for (query, count) in [("", 50), ("?limit=500", 500), ("?limit=501", 500)] {
        let page = served.get(&format!("/v1/permits{query}")).await.json();
        assert_eq!(page["permits"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(page["total"], 501);
        assert!(page["next_cursor"].is_string(), "{query}");
    }
}
