//! Forms that another site, another session or nobody has sent change nothing.

use reqwest::Method;
use reqwest::header::ORIGIN;
use serde_json::json;

use super::support::{ALICE, Browser, OPS, held, serve, token_in, value_of};
use crate::support::Served;

/// The forms of the console, with fields that they would accept.
fn forms(id: &str, stop: &str, shown: &str) -> Vec<(String, Vec<(&'static str, String)>)> {
    let text = |text: &str| text.to_owned();
    vec![
        (
            format!("/console/approvals/{id}/vote"),
            vec![("shown", text(shown)), ("vote", text("approve"))],
        ),
        (
            text("/console/stops"),
            vec![("covers", text("all")), ("reason", text("x"))],
        ),
        (
            format!("/console/stops/{stop}/lift"),
            vec![("reason", text("x"))],
        ),
        (
            text("/console/policies/try"),
            vec![("agent", text("a")), ("action", text("b"))],
        ),
        (text("/console/logout"), Vec::new()),
    ]
}

/// The fields of a form, with a token.
fn with_token<'a>(
    fields: &'a [(&'static str, String)],
    token: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    let token = token.map(|token| ("csrf", token));
    let fields = fields.iter().map(|(name, value)| (*name, &**value));
    fields.chain(token).collect()
}

/// What forms could change.
async fn state(served: &Served) -> Vec<u64> {
    let mut counts = Vec::new();
    for kind in ["approval.voted", "stop.set", "stop.lifted"] {
        counts.push(served.count(kind).await);
    }
    counts
}

#[tokio::test]
async fn no_form_is_accepted_without_the_token_of_its_own_session_and_from_its_own_site() {
    let served = serve().await;
    let id = held(&served, "deploy", json!({})).await;
    let body = json!({"agent_id": "other-bot", "reason": "a test"});
    let stop = served.post("/v1/stops", &body).await.json();
    let stop = stop["id"].as_str().unwrap();
    let browser = Browser::logged_in(&served, OPS).await;
    let other = Browser::logged_in(&served, ALICE).await;
    let page = browser.page(&format!("/console/approvals/{id}")).await;
    let (good, shown) = (token_in(&page), value_of(&page, "shown").unwrap());
    let others = token_in(&other.page("/console/approvals").await);
    let before = state(&served).await;

    for (target, fields) in forms(&id, stop, &shown) {
        let with = |token| with_token(&fields, token);
        for token in [None, Some(""), Some("x"), Some(&*others), Some(&good[1..])] {
            let answer = browser.send(browser.form(&target, &with(token))).await;
            answer.is_error_page(403, "CSRF_TOKEN");
        }
        // The right token, from elsewhere.
        let form = || browser.plain_form(&target, &with(Some(&good)));
        let evil = "https://evil.example";
        for request in [
            form(),
            form().header("sec-fetch-site", "cross-site"),
            form().header("sec-fetch-site", "same-site"),
            form().header("sec-fetch-site", "none"),
            form().header(ORIGIN, evil),
            form()
                .header("sec-fetch-site", "cross-site")
                .header(ORIGIN, served.url()),
        ] {
            browser.send(request).await.is_error_page(403, "CROSS_SITE");
        }
        // The token in the address, and no form at all.
        let query = format!("{target}?csrf={good}");
        let answer = browser.send(browser.form(&query, &with(None))).await;
        answer.is_error_page(403, "CSRF_TOKEN");
        // Without a session, the token is nobody's.
        let nobody = Browser::new(&served);
        let answer = nobody.send(nobody.form(&target, &with(Some(&good)))).await;
        answer.is_error_page(401, "NO_SESSION");
        // Another method.
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            if method == Method::GET && target == "/console/stops" {
                continue;
            }
            let request = browser.request(method, &target);
            let request = request.header("sec-fetch-site", "same-origin");
            assert_eq!(browser.send(request).await.status, 405, "{target}");
        }
    }
    assert_eq!(state(&served).await, before);
    assert!(browser.session().is_some());

    // The same forms, as the console sends them.
    for (target, mut fields) in forms(&id, stop, &shown) {
        fields.push(("csrf", good.clone()));
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let answer = browser.send(browser.form(&target, &fields)).await;
        assert!(
            [200, 303].contains(&answer.status),
            "{target}: {}",
            answer.text
        );
    }
    assert_eq!(
        state(&served).await,
        [before[0] + 1, before[1] + 1, before[2] + 1]
    );
    assert!(browser.session().is_none());
}
