//! Texts from outside that try to become something else on a page.

use serde_json::json;

use super::support::{Browser, OPS, ask, serve};
use crate::support::Served;

/// Each would run a script, end an attribute, hide or reorder text, or write lines of its own.
const HOSTILE: [&str; 6] = [
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror=window.pwned=1>",
    "' onmouseover='window.pwned=1",
    "javascript:window.pwned=1",
    "user\u{202e}nimda\u{200b}\u{2066}",
    "a\u{1b}[31m\u{85}b\r\n<h1>approved</h1>",
];

/// Asserts that a page shows nothing of the texts unescaped.
#[track_caller]
fn is_harmless(page: &str, target: &str) {
    for markup in [
        "<script>window",
        "<img",
        "\" onmouseover",
        "' onmouseover='",
        "<h1>approved",
    ] {
        let is_attribute = page.contains(markup) && markup != "' onmouseover='";
        assert!(!is_attribute, "{target}: {markup}: {page}");
    }
    for character in ['\u{202e}', '\u{200b}', '\u{2066}', '\u{1b}', '\u{85}', '\r'] {
        assert!(!page.contains(character), "{target}: {character:?}");
    }
    // The script of the layout is the only one.
    assert_eq!(
        page.matches("<script").count(),
        usize::from(page.contains("<html")),
        "{target}"
    );
}

/// Brings hostile texts everywhere that the API takes texts. Returns the pages that show them.
async fn attack(served: &Served) -> Vec<String> {
    let mut pages = Vec::new();
    for (n, text) in HOSTILE.iter().enumerate() {
        let body = json!({
            "action_type": "deploy",
            "actor_id": format!("bot {text}"),
            "resource_id": text,
            "context": {*text: text, "list": [text, {"deep": text}], "n": n},
            "environment": text,
        });
        let held = served.evaluate(&body).await.json();
        let id = held["escalation_id"].as_str();
        let id = id.unwrap_or_else(|| panic!("{held}"));
        pages.push(format!("/console/approvals/{id}"));
        let body = json!({
            "action_type": format!("read {text}"),
            "actor_id": format!("bot {text}"),
            "resource_id": text,
            "context": {"text": text},
        });
        let allowed = served.evaluate(&body).await.json();
        let permit = allowed["permit_id"].as_str();
        let permit = permit.unwrap_or_else(|| panic!("{allowed}"));
        let reason = json!({"reason": text});
        served
            .post(&format!("/v1/permits/{permit}/revoke"), &reason)
            .await;
        pages.push(format!("/console/permits/{permit}"));
        let stop = json!({"agent_id": format!("nobody {text}"), "reason": text});
        let set = served.post("/v1/stops", &stop).await;
        assert_eq!(set.status, 200, "{}", set.text);
    }
    pages
}

#[tokio::test]
async fn no_text_from_outside_becomes_markup_or_moves_other_text() {
    let served = serve().await;
    let mut pages = attack(&served).await;
    let olga = Browser::logged_in(&served, OPS).await;
    for (page, text) in pages
        .clone()
        .iter()
        .filter(|page| page.contains("approvals"))
        .zip(HOSTILE)
    {
        let id = page.rsplit('/').next().unwrap();
        let voted = olga.vote(id, &[("vote", "reject"), ("note", text)]).await;
        assert_eq!(voted.status, 303, "{}", voted.text);
    }
    for page in [
        "/console/approvals",
        "/console/approvals/rows",
        "/console/approvals?state=closed",
        "/console/decisions",
        "/console/decisions/rows",
        "/console/permits",
        "/console/permits?agent=%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E",
        "/console/budgets",
        "/console/budgets?of=%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E",
        "/console/trail",
        "/console/trail?at=%22%3E%3Cimg%20src%3Dx%3E",
        "/console/stops",
        "/console/policies",
        "/console/login?next=%22%3E%3Cimg%20src%3Dx%3E",
    ] {
        pages.push(page.to_owned());
    }
    for target in &pages {
        is_harmless(&olga.page(target).await, target);
    }
    let page = olga.page(&pages[8]).await;
    assert!(page.contains("user\\u{202e}nimda"), "shown escaped: {page}");
    for path in ["%3Cscript%3E", "%E2%80%AE", "%22%3E%3Cimg"] {
        for target in ["approvals", "permits"] {
            let answer = olga.get(&format!("/console/{target}/{path}")).await;
            assert_eq!(answer.status, 404);
            is_harmless(&answer.text, path);
        }
    }
}

#[tokio::test]
async fn hostile_fields_come_back_as_text() {
    let served = serve().await;
    let olga = Browser::logged_in(&served, OPS).await;
    ask(&served, "read", json!({})).await;
    for text in HOSTILE {
        let context = json!({"text": text}).to_string();
        let fields = [
            ("agent", text),
            ("action", text),
            ("resource", text),
            ("context", &context),
        ];
        let answer = olga
            .submit("/console/policies", "/console/policies/try", &fields)
            .await;
        let markup = ["<script>window", "<img", "\" onmouseover", "<h1>approved"];
        for markup in markup {
            assert!(!answer.text.contains(markup), "{}", answer.text);
        }
        for covers in ["agent", "action", text] {
            let fields = [("covers", covers), ("name", text), ("reason", text)];
            let answer = olga
                .submit("/console/stops", "/console/stops", &fields)
                .await;
            is_harmless(&answer.text, text);
        }
        is_harmless(&olga.page("/console/stops").await, text);
    }
}
