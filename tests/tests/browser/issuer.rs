//! The login at an OpenID Connect issuer on another site, in a browser that keeps its rules for
//! cookies.

use std::sync::Arc;

use atlasent_tests::issuer::Issuer;
use serde_json::json;

use crate::support::{Browser, Look, PATIENCE, Ran, Served, browser, deploy};

impl Browser {
    /// Logs alice in at the issuer, with the mouse.
    async fn log_in_at_issuer(&self) {
        self.click("#issuer").await;
        self.sees("Who are you?").await;
        self.click("#alice").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_an_issuer_logs_in_and_releases_a_held_call() {
    let Some(alice) = browser(Look::default()).await else {
        return;
    };
    // `localhost` and `127.0.0.1` are two sites.
    let issuer = Issuer::start("localhost").await;
    let served = Served::start_with(&issuer).await;
    let (client, ran) = (Arc::new(served.client()), Arc::new(Ran::default()));
    let (caller, counted) = (Arc::clone(&client), Arc::clone(&ran));
    let call = tokio::spawn(async move { deploy(&caller, &counted, "4f2a9c1").await });

    alice.open(&served, "/console").await;
    alice.sees("API key of an approver").await;
    alice.sees("Log in with localhost").await;
    alice.log_in_at_issuer().await;
    alice.sees("alice in local").await;
    alice.sees("deploy.production").await;
    alice.click("#rows tbody a").await;
    alice.sees("What exactly would run").await;
    assert_eq!(ran.times(), 0, "nobody has approved yet");
    alice.click("button[value=approve]").await;
    alice.sees("Outcome").await;
    let done = tokio::time::timeout(PATIENCE, call).await;
    assert_eq!(done.unwrap().unwrap().unwrap(), "deployed 4f2a9c1");
    assert_eq!(ran.times(), 1);
    assert_eq!(issuer.redeemed().len(), 1);

    alice.click(".person button").await;
    alice.sees("Log in with localhost").await;
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_on_to_the_page_of_a_link_without_scripts() {
    let look = Look {
        has_no_scripts: true,
        ..Look::default()
    };
    let Some(alice) = browser(look).await else {
        return;
    };
    let issuer = Issuer::start("localhost").await;
    let served = Served::start_with(&issuer).await;
    let id = served.held("deploy.production", &json!({"n": 1})).await;
    let path = format!("/console/approvals/{id}");
    alice.open(&served, &path).await;
    alice.log_in_at_issuer().await;
    alice.sees("What exactly would run").await;
    let url = alice.0.current_url().await.unwrap();
    assert_eq!(url.as_str(), served.url(&path));
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_leaves_no_session() {
    let Some(alice) = browser(Look::default()).await else {
        return;
    };
    let issuer = Issuer::start("localhost").await;
    issuer.set(|script| script.is_forged = true);
    let served = Served::start_with(&issuer).await;
    alice.open(&served, "/console").await;
    alice.log_in_at_issuer().await;
    alice.sees("You are not logged in").await;
    // The address of the way back, a second time.
    alice.0.refresh().await.unwrap();
    alice.sees("LOGIN_STATE").await;
    alice.open(&served, "/console/approvals").await;
    alice.sees("API key of an approver").await;
    alice.close().await;
}
