//! The console without a mouse.

use serde_json::json;
use thirtyfour::prelude::*;

use crate::support::{ALICE, Browser, Look, Served, browser};

impl Browser {
    async fn press(&self, keys: impl Into<TypingData>) {
        let chain = self.0.action_chain().send_keys(keys);
        chain.perform().await.unwrap();
    }

    /// Presses the tab key until an element that fits a selector has the focus.
    async fn tab_to(&self, css: &str) {
        for _ in 0..60 {
            let fits = format!("return document.activeElement.matches({})", json!(css));
            if self.run(&fits).await == true {
                // A person sees where the focus is.
                let outline = "return getComputedStyle(document.activeElement).outlineStyle";
                assert_ne!(self.run(outline).await, "none", "{css}");
                return;
            }
            self.press(Key::Tab).await;
        }
        panic!("no tab leads to `{css}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_approved_by_keys_alone() {
    let Some(alice) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    let id = served.held("deploy.production", &json!({"n": 1})).await;
    alice.open(&served, "/console").await;
    // The field of the key has the focus.
    alice.sees("API key of an approver").await;
    alice.press(ALICE).await;
    alice.press(Key::Enter).await;
    alice.sees("deploy.production").await;
    // The first stop skips the sections.
    alice.tab_to(".skip").await;
    alice.press(Key::Enter).await;
    let at = "return document.activeElement.id";
    assert_eq!(alice.run(at).await, "content");
    alice.tab_to("#rows tbody a").await;
    // A refresh of the list leaves the focus where it is.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(alice.run(at).await, json!(format!("row-{id}")));
    alice.press(Key::Enter).await;
    alice.sees("What exactly would run").await;
    alice.tab_to("#note").await;
    alice.press("by keys").await;
    alice.tab_to("button[value=approve]").await;
    alice.press(Key::Enter).await;
    alice.sees("Outcome").await;
    alice.sees("by keys").await;
    let body =
        json!({"action_type": "deploy.production", "actor_id": "deploy-bot", "context": {"n": 1}});
    let answer = served.post("/v1-evaluate", &body).await;
    assert_eq!(answer["decision"], "allow", "{answer}");
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_has_one_heading_and_names_its_fields() {
    let Some(olga) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    let id = served.held("deploy.production", &json!({"n": 1})).await;
    olga.open(&served, "/console/login").await;
    let unnamed =
        "return [...document.querySelectorAll('input:not([type=hidden]), textarea, select')]
        .filter(field => field.labels.length === 0).map(field => field.name)";
    let headings = "return [document.querySelectorAll('h1').length, document.querySelectorAll('main').length, document.documentElement.lang]";
    assert_eq!(olga.run(unnamed).await, json!([]));
    assert_eq!(olga.run(headings).await, json!([1, 1, "en"]));
    olga.log_in(&served, crate::support::OLGA).await;
    let approval = format!("approvals/{id}");
    for page in [
        "approvals",
        &approval,
        "decisions",
        "permits",
        "trail",
        "stops",
        "policies",
    ] {
        olga.open(&served, &format!("/console/{page}")).await;
        assert_eq!(olga.run(unnamed).await, json!([]), "{page}");
        assert_eq!(olga.run(headings).await, json!([1, 1, "en"]), "{page}");
        let current = "return document.querySelectorAll('nav a[aria-current=page]').length";
        assert_eq!(olga.run(current).await, 1, "{page}");
    }
    olga.close().await;
}
