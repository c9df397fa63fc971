//! How sessions begin and end.

use std::time::Duration;

use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiScope, KeyFile};
use atlasent_authority::server::ApiKeys;
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::json;
use tokio::time::timeout;

use super::support::{
    ALICE, BOB, Browser, HOLDS, held, person, serve, serve_at, token_in, with_console,
};
use crate::support::{KEY, Served, Time, ms, stored};

/// The longest time that a loaded machine may take.
const PATIENCE: Duration = ms(20_000);

#[tokio::test]
async fn a_login_starts_a_session_under_a_new_id() {
    let served = serve().await;
    let browser = Browser::new(&served);
    // An id that somebody else has planted is no session, and becomes none.
    let planted = "A".repeat(43);
    let plant = ("atlasent_console".to_owned(), planted.clone());
    browser.cookies.lock().unwrap().extend([plant]);
    browser.get("/console/approvals").await.leads_to_login();
    browser.log_in(ALICE).await;
    let first = browser.session().unwrap();
    assert_ne!(first, planted);
    assert_eq!(first.len(), 43, "256 bits");
    // A second login ends the first session, and its forms.
    let token = token_in(&browser.page("/console/approvals").await);
    browser.log_in(BOB).await;
    let second = browser.session().unwrap();
    assert_ne!(first, second);
    let older = Browser::new(&served);
    let cookie = ("atlasent_console".to_owned(), first);
    older.cookies.lock().unwrap().extend([cookie]);
    older.get("/console/approvals").await.leads_to_login();
    let form = browser.form("/console/logout", &[("csrf", &token)]);
    browser.send(form).await.is_error_page(403, "CSRF_TOKEN");
}

#[tokio::test]
async fn a_session_that_is_idle_or_old_has_ended() {
    let time = Time::new();
    let served = serve_at(&time).await;
    let browser = Browser::logged_in(&served, ALICE).await;
    for minutes in [29, 58, 80] {
        time.set(minutes * 60);
        browser.page("/console/approvals").await;
    }
    // The refresh of a list by a page that nobody looks at.
    time.set(100 * 60);
    let refresh = browser.request(reqwest::Method::GET, "/console/approvals/rows");
    let answer = browser.send(refresh.header("hx-request", "true")).await;
    assert_eq!(answer.status, 200);
    time.set(110 * 60);
    browser.get("/console/approvals").await.leads_to_login();
    time.set(109 * 60);
    browser.get("/console/approvals").await.leads_to_login();

    let browser = Browser::logged_in(&served, ALICE).await;
    let start = 109;
    for minutes in (start..start + 12 * 60).step_by(20) {
        time.set(minutes * 60);
        browser.page("/console/approvals").await;
    }
    time.set((start + 12 * 60) * 60);
    browser.get("/console/approvals").await.leads_to_login();
    // A part of a page leads the whole page to the login.
    let request = browser.request(reqwest::Method::GET, "/console/approvals/rows");
    let answer = browser.send(request.header("hx-request", "true")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("hx-redirect"), Some("/console/login"));
    // A form of the ended session changes nothing.
    let answer = browser
        .send(browser.form("/console/logout", &[("csrf", "x")]))
        .await;
    answer.is_error_page(401, "NO_SESSION");
}

#[tokio::test]
async fn each_request_asks_what_the_key_may_do_now() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.json"));
    let alice = person(ALICE, "alice", "sre");
    for key in [stored(KEY), alice.clone(), person(BOB, "bob", "sre")] {
        file.add(key).unwrap();
    }
    let keys = ApiKeys::default().with_file(file.clone()).await.unwrap();
    let authority = LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap();
    let served = Served::run(with_console(authority, keys)).await;
    let id = held(&served, "deploy", json!({})).await;
    let path = format!("/console/approvals/{id}");
    let browser = Browser::logged_in(&served, ALICE).await;
    let bob = Browser::logged_in(&served, BOB).await;
    assert!(browser.page(&path).await.contains("Approve"));

    // Her role is taken from her while she reads.
    let edit = |change: &dyn Fn(&mut atlasent_authority::keys::ApiKey)| {
        let mut keys = file.load().unwrap();
        for key in keys.iter_mut().filter(|key| key.digest == alice.digest) {
            change(key);
        }
        let draft = folder.path().join("draft");
        std::fs::write(&draft, serde_json::to_string_pretty(&keys).unwrap()).unwrap();
        std::fs::rename(draft, file.path()).unwrap();
    };
    edit(&|key| key.approver = Some(Approver::new("alice", ["intern"]).unwrap()));
    until(|| async { browser.page(&path).await.contains("cannot decide this") }).await;
    let shown = super::support::value_of(&bob.page(&path).await, "shown").unwrap();
    let fields = [("shown", &*shown), ("vote", "approve")];
    let answer = browser
        .submit(&path, &format!("{path}/vote"), &fields)
        .await;
    answer.is_error_page(403, "NOT_AN_APPROVER");

    // She is no approver any more: her session ends.
    edit(&|key| key.scopes = vec![ApiScope::AuditRead]);
    until(|| async { browser.get(&path).await.status == 303 }).await;
    edit(&|key| key.scopes = ApiScope::APPROVER.to_vec());
    browser.get(&path).await.leads_to_login();

    // A revoked key ends the sessions that it has.
    file.revoke(&person(BOB, "bob", "sre").key_id).unwrap();
    until(|| async { bob.get(&path).await.status == 303 }).await;
    bob.log_in(BOB).await.is_error_page(401, "INVALID_API_KEY");
    let votes = served.count("approval.voted").await;
    assert_eq!(votes, 0);
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(ms(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn cookies_are_for_this_site_and_for_no_script() {
    let served = serve().await;
    let browser = Browser::new(&served);
    let page = browser.get("/console/login").await;
    let login = browser.log_in(ALICE).await;
    let mut cookies = Vec::new();
    for answer in [page, login] {
        for cookie in answer.headers.get_all("set-cookie") {
            cookies.push(cookie.to_str().unwrap().to_owned());
        }
    }
    assert_eq!(cookies.len(), 3, "{cookies:?}");
    for cookie in &cookies {
        assert!(
            cookie.contains("; Path=/console; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
        assert!(!cookie.contains("Secure"), "on this machine: {cookie}");
    }
    // By another name, which a proxy may serve with TLS.
    let request = browser.request(reqwest::Method::GET, "/console/login");
    let answer = browser
        .send(request.header("host", "console.example"))
        .await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}
