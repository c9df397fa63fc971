//! Scripts in the names that agents send: none runs, and the policy of the pages would stop it.

use serde_json::json;

use crate::support::{Look, OLGA, Served, browser};

const HOSTILE: [&str; 5] = [
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror=\"window.pwned=1\">",
    "'><svg onload='window.pwned=1'>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<div hx-get='/console/logout' hx-trigger='load' hx-on:click='window.pwned=1'>",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_script_of_an_agent_runs() {
    let Some(olga) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    olga.log_in(&served, OLGA).await;
    let mut pages: Vec<String> = Vec::new();
    for text in HOSTILE {
        let body = json!({
            "action_type": "deploy.production",
            "actor_id": format!("bot {text}"),
            "resource_id": text,
            "context": {text: text},
        });
        let held = served.post("/v1-evaluate", &body).await;
        let id = held["escalation_id"].as_str();
        let id = id.unwrap_or_else(|| panic!("{held}"));
        pages.push(format!("/console/approvals/{id}"));
        let body = json!({"action_type": format!("read {text}"), "actor_id": text, "context": {}});
        let allowed = served.post("/v1-evaluate", &body).await;
        let permit = allowed["permit_id"].as_str().unwrap();
        pages.push(format!("/console/permits/{permit}"));
        let stop = json!({"agent_id": format!("nobody {text}"), "reason": text});
        served.post("/v1/stops", &stop).await;
    }
    let sections = [
        "approvals",
        "decisions",
        "permits",
        "trail",
        "stops",
        "policies",
    ];
    pages.extend(sections.map(|section| format!("/console/{section}")));
    for page in &pages {
        olga.open(&served, page).await;
        let text = olga.text().await;
        assert!(text.contains("Log out"), "{page}: {text}");
        assert!(
            olga.run("return typeof window.pwned").await == "undefined",
            "{page}"
        );
        let foreign = "return document.querySelectorAll('img, svg, iframe, main script, [onerror], [onload], main div[hx-on\\\\:click]').length";
        assert_eq!(olga.run(foreign).await, 0, "{page}");
    }
    // The lists are refreshed by htmx, which must not bring a script to life either.
    olga.open(&served, "/console/decisions").await;
    let newest = json!({"action_type": "the newest", "actor_id": HOSTILE[0], "context": {}});
    served.post("/v1-evaluate", &newest).await;
    olga.sees("the newest").await;
    assert_eq!(olga.run("return typeof window.pwned").await, "undefined");
    assert!(olga.text().await.contains(HOSTILE[0]), "shown as text");
    olga.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_the_pages_stops_a_script_and_a_style_that_got_in() {
    let Some(olga) = browser(Look::default()).await else {
        return;
    };
    let served = Served::start().await;
    olga.log_in(&served, OLGA).await;
    // The console itself breaks no rule of its policy.
    for section in [
        "approvals",
        "decisions",
        "permits",
        "trail",
        "stops",
        "policies",
    ] {
        olga.open(&served, &format!("/console/{section}")).await;
        olga.run_until("return typeof htmx", "object").await;
    }
    // A list refreshes itself.
    olga.open(&served, "/console/decisions").await;
    served
        .post(
            "/v1-evaluate",
            &json!({"action_type": "read", "actor_id": "a-new-bot", "context": {}}),
        )
        .await;
    olga.sees("a-new-bot").await;
    let broken = violations(&olga).await;
    assert!(broken.is_empty(), "{broken:?}");

    let inline = "const script = document.createElement('script'); script.textContent = 'window.pwned = 1';
        document.body.append(script);
        const button = document.createElement('button'); button.setAttribute('onclick', 'window.pwned = 1');
        document.body.append(button); button.click();
        const elsewhere = document.createElement('script'); elsewhere.src = 'data:text/javascript,window.pwned=1';
        document.body.append(elsewhere);
        const style = document.createElement('style'); style.textContent = 'body { display: none }';
        document.body.append(style);
        return [typeof window.pwned, getComputedStyle(document.body).display];";
    assert_eq!(olga.run(inline).await, json!(["undefined", "block"]));
    // In a timer: the driver itself may evaluate texts.
    olga.run("setTimeout(() => { try { window.eval('window.pwned = 1'); } catch (error) { window.stopped = error.name; } }, 0)").await;
    let stopped = "return [typeof window.pwned, window.stopped]";
    (olga.run_until(stopped, json!(["undefined", "EvalError"]))).await;
    assert!(!violations(&olga).await.is_empty());
    olga.close().await;
}

/// What the browser has reported against the policy of the pages since the last call.
async fn violations(browser: &crate::support::Browser) -> Vec<String> {
    let log = browser.0.browser_log().await.unwrap();
    let messages = log.into_iter().map(|entry| entry.message);
    messages
        .filter(|message| {
            message.contains("Content Security Policy") && !message.contains("favicon")
        })
        .collect()
}
