//! The headers of each answer.

use serde_json::json;

use super::support::{Browser, OPS, ask, held, serve};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn each_page_keeps_itself_out_of_caches_frames_and_referrers() {
    let served = serve().await;
    let id = held(&served, "deploy", json!({})).await;
    let permit = ask(&served, "read", json!({})).await;
    let permit = permit["permit_id"].as_str().unwrap().to_owned();
    let browser = Browser::logged_in(&served, OPS).await;
    for (target, status) in [
        ("/console", 303),
        ("/console/", 303),
        ("/console/login", 200),
        ("/console/approvals", 200),
        ("/console/approvals?state=closed", 200),
        ("/console/approvals/rows", 200),
        (&*format!("/console/approvals/{id}"), 200),
        (&*format!("/console/approvals/{id}/state"), 200),
        ("/console/approvals/esc_none", 404),
        ("/console/decisions", 200),
        ("/console/decisions/rows", 200),
        ("/console/permits", 200),
        (&*format!("/console/permits/{permit}"), 200),
        ("/console/permits/pt_none", 404),
        ("/console/permits/%FF", 404),
        ("/console/approvals/%FF", 404),
        ("/console/budgets", 200),
        ("/console/budgets?of=deploy-bot", 200),
        ("/console/login/oidc", 404),
        ("/console/trail", 200),
        ("/console/trail?at=1", 200),
        ("/console/trail/check", 200),
        ("/console/stops", 200),
        ("/console/policies", 200),
    ] {
        let answer = browser.get(target).await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text);
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}: {name}");
        }
        if status != 303 {
            let kind = answer.header("content-type").unwrap();
            assert_eq!(kind, "text/html; charset=utf-8", "{target}");
        }
        // Nothing inline, and nothing from elsewhere.
        for word in [
            "<style",
            " style=",
            "<script>",
            " onclick",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!answer.text.contains(word), "{target}: {word}");
        }
        let scripts = answer.text.matches("<script").count();
        let own = answer
            .text
            .matches(r#"<script src="/console/assets/"#)
            .count();
        assert_eq!(scripts, own, "{target}");
    }
}

#[tokio::test]
async fn the_two_files_of_the_pages_are_there_for_everybody_and_kept() {
    let served = serve().await;
    let browser = Browser::new(&served);
    let page = browser.page("/console/login").await;
    for (mark, kind) in [
        (r#"<script src=""#, "text/javascript; charset=utf-8"),
        (
            r#"<link rel="stylesheet" href=""#,
            "text/css; charset=utf-8",
        ),
    ] {
        let (_, rest) = page.split_once(mark).unwrap();
        let answer = browser.get(rest.split('"').next().unwrap()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(kind));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let kept = answer.header("cache-control").unwrap();
        assert!(kept.contains("immutable"), "{kept}");
    }
}
