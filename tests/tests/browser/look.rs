//! The console on a phone, and in the dark.

use serde_json::{Value, json};

use crate::support::{Browser, Look, OLGA, Served, browser};

/// The ratio of the contrast of texts to what lies behind them, for each pair of colours of a page
/// that is below 4.5 (WCAG 2.2, 1.4.3).
const LOW_CONTRASTS: &str = r"
    const parse = colour => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const low = new Set();
    for (const element of document.querySelectorAll('body *')) {
        const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!hasText || element.closest('details:not([open])') || element.offsetParent === null) continue;
        const [one, other] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) low.add(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
    }
    return [...low];";

/// Fills the pages of a server.
async fn fill(served: &Served) -> Vec<String> {
    let long = "a-very-long-name-without-any-space-".repeat(6);
    let context =
        json!({"commit": "4f2a9c1", "url": format!("https://{long}.example/"), "list": [1, 2, 3]});
    let id = served.held("deploy.production", &context).await;
    let body = json!({"action_type": "read", "actor_id": long, "resource_id": long, "context": {}});
    let allowed = served.post("/v1-evaluate", &body).await;
    let permit = allowed["permit_id"].as_str().unwrap().to_owned();
    served
        .post(
            "/v1-evaluate",
            &json!({"action_type": "table.drop", "actor_id": "bot", "context": {}}),
        )
        .await;
    served
        .post(
            "/v1/stops",
            &json!({"agent_id": "other-bot", "reason": long}),
        )
        .await;
    let mut pages = vec![format!("approvals/{id}"), format!("permits/{permit}")];
    pages.extend(
        [
            "approvals",
            "decisions",
            "permits",
            "trail",
            "trail/check",
            "stops",
            "policies",
        ]
        .map(str::to_owned),
    );
    pages
}

async fn each_page(browser: &Browser, served: &Served, script: &str, expected: &Value) {
    for page in fill(served).await {
        browser.open(served, &format!("/console/{page}")).await;
        assert_eq!(browser.run(script).await, *expected, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_scrolls_no_page_sideways() {
    let look = Look {
        is_phone: true,
        ..Look::default()
    };
    let Some(olga) = browser(look).await else {
        return;
    };
    let served = Served::start().await;
    olga.open(&served, "/console/login").await;
    assert_eq!(olga.run("return window.innerWidth").await, 360);
    let wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(olga.run(wide).await, false);
    olga.log_in(&served, OLGA).await;
    each_page(&olga, &served, wide, &json!(false)).await;
    olga.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn light_and_dark_follow_the_system_and_both_are_readable() {
    let mut backs = Vec::new();
    for is_dark in [false, true] {
        let look = Look {
            is_dark,
            ..Look::default()
        };
        let Some(olga) = browser(look).await else {
            return;
        };
        let served = Served::start().await;
        olga.open(&served, "/console/login").await;
        assert_eq!(olga.run(LOW_CONTRASTS).await, json!([]), "the login");
        olga.log_in(&served, OLGA).await;
        each_page(&olga, &served, LOW_CONTRASTS, &json!([])).await;
        backs.push(
            olga.run("return getComputedStyle(document.body).backgroundColor")
                .await,
        );
        olga.close().await;
    }
    assert_eq!(backs, ["rgb(246, 247, 249)", "rgb(18, 21, 27)"]);
}
