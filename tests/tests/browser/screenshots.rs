//! The pictures of the documentation: `ATLASENT_SCREENSHOTS=docs/guide/console cargo test
//! --workspace --all-features --test browser screenshots` writes them, from the workspace's folder.

use std::path::PathBuf;

use serde_json::json;

use crate::support::{Look, OLGA, Ran, Served, browser, deploy};

/// The largest picture, in bytes.
const MAX_PICTURE: usize = 120 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn screenshots_are_small_and_are_written_where_they_are_wanted() {
    let folder = std::env::var_os("ATLASENT_SCREENSHOTS").map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, is_dark, is_phone, page) in [
        ("approval-light.png", false, false, "approval"),
        ("approval-phone.png", false, true, "approval"),
        ("story-dark.png", true, false, "story"),
    ] {
        let look = Look {
            is_dark,
            is_phone,
            ..Look::default()
        };
        let Some(olga) = browser(look).await else {
            return;
        };
        let served = Served::start().await;
        olga.log_in(&served, OLGA).await;
        let context = json!({"commit": "4f2a9c1", "replicas": 3, "token": "hunter2"});
        let id = served.held("deploy.production", &context).await;
        let path = format!("/console/approvals/{id}");
        olga.open(&served, &path).await;
        if page == "story" {
            olga.find("#note")
                .await
                .send_keys("the tests passed")
                .await
                .unwrap();
            olga.click("button[value=approve]").await;
            olga.sees("Outcome").await;
            let client = served.client();
            let deployed = deploy(&client, &Ran::default(), "4f2a9c1").await;
            assert_eq!(deployed.unwrap(), "deployed 4f2a9c1");
            olga.open(&served, "/console/permits").await;
            olga.click("tbody a").await;
            olga.sees_in_time("permit.completed").await;
        }
        let picture = olga.0.screenshot_as_png().await.unwrap();
        assert!(
            picture.len() <= MAX_PICTURE,
            "{name} has {} bytes",
            picture.len()
        );
        if let Some(folder) = &folder {
            std::fs::create_dir_all(root.join(folder)).unwrap();
            std::fs::write(root.join(folder).join(name), picture).unwrap();
        }
        olga.close().await;
    }
}
