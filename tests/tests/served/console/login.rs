//! Who gets in, and with what.

use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::ApiKeys;
use atlasent_authority::{LocalAuthority, Policies};
use jiff::Timestamp;
use reqwest::Method;

use super::support::{ALICE, BOB, Browser, HOLDS, IAN, OPS, person, serve, token_in, with_console};
use crate::support::{KEY, Served, memory, server, stored};

#[tokio::test]
async fn an_approver_logs_in_and_out() {
    let served = serve().await;
    let browser = Browser::new(&served);
    browser.get("/console/approvals").await.leads_to_login();
    let answer = browser.log_in(ALICE).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(answer.header("location"), Some("/console/approvals"));
    assert!(!answer.text.contains(ALICE));
    let page = browser.page("/console/approvals").await;
    assert!(page.contains("<b>alice</b> in local"), "{page}");

    let session = browser.session().unwrap();
    let out = browser
        .submit("/console/approvals", "/console/logout", &[])
        .await;
    out.leads_to_login();
    assert_eq!(browser.session(), None);
    // The id is worth nothing any more, also for somebody who kept it.
    let mut cookies = browser.cookies.lock().unwrap().clone();
    cookies.insert("atlasent_console".to_owned(), session);
    *browser.cookies.lock().unwrap() = cookies;
    browser.get("/console/approvals").await.leads_to_login();
}

#[tokio::test]
async fn the_console_is_off_unless_it_is_asked_for() {
    let served = Served::run(server(memory())).await;
    for target in ["/console", "/console/login", "/console/approvals"] {
        let answer = Browser::new(&served).get(target).await;
        answer.is_problem(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn only_an_active_key_of_an_approver_logs_in() {
    let mut revoked = person(BOB, "bob", "sre");
    revoked.revoked_at = Some(Timestamp::UNIX_EPOCH);
    let mut expired = person(IAN, "ian", "sre");
    expired.expires_at = Some(Timestamp::UNIX_EPOCH);
    let mut without_scope = person(OPS, "olga", "sre");
    without_scope.scopes = vec![ApiScope::AuditRead];
    let mut elsewhere = person("ask_test_e15e", "eve", "sre");
    elsewhere.allowed_cidrs = vec!["192.0.2.0/24".parse().unwrap()];
    let mut nobody = stored("ask_test_0b0d1");
    nobody.scopes = ApiScope::ALL.to_vec();
    let keys = [
        revoked,
        expired,
        without_scope,
        elsewhere,
        nobody,
        stored(KEY),
    ];
    let authority = LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap();
    let served = Served::run(with_console(authority, ApiKeys::new(keys))).await;
    for (key, status, code) in [
        ("ask_test_unknown", 401, "INVALID_API_KEY"),
        ("nonsense\u{202e}<script>", 401, "INVALID_API_KEY"),
        (BOB, 401, "INVALID_API_KEY"),
        (IAN, 401, "INVALID_API_KEY"),
        (OPS, 403, "NOT_AN_APPROVER"),
        ("ask_test_0b0d1", 403, "NOT_AN_APPROVER"),
        (KEY, 403, "NOT_AN_APPROVER"),
        ("ask_test_e15e", 403, "IP_NOT_ALLOWED"),
        ("", 422, "INVALID_FIELD"),
        ("   ", 422, "INVALID_FIELD"),
    ] {
        let browser = Browser::new(&served);
        let answer = browser.log_in(key).await;
        answer.is_error_page(status, code);
        assert_eq!(browser.session(), None, "{key}");
        let is_shown = !key.trim().is_empty() && answer.text.contains(key);
        assert!(!is_shown, "{key}");
    }
}

#[tokio::test]
async fn wrong_keys_are_counted_with_those_of_the_api() {
    let served = serve().await;
    for n in 0..30 {
        let browser = Browser::new(&served);
        let answer = browser.log_in(&format!("ask_test_wrong{n}")).await;
        answer.is_error_page(401, "INVALID_API_KEY");
        let request = served.bare(Method::GET, "/v1-api-key-self");
        let request = request.header("authorization", format!("Bearer ask_test_wrong{n}"));
        assert_eq!(crate::support::Answer::receive(request).await.status, 401);
    }
    let answer = Browser::new(&served).log_in("ask_test_wrong").await;
    answer.is_error_page(429, "TOO_MANY_WRONG_KEYS");
    assert!(answer.header("retry-after").is_some());
    // A right key is never throttled.
    Browser::logged_in(&served, ALICE).await;
}

#[tokio::test]
async fn a_login_needs_the_token_of_its_own_browser() {
    let served = serve().await;
    let (mine, other) = (Browser::new(&served), Browser::new(&served));
    mine.get("/console/login").await;
    let others = token_in(&other.get("/console/login").await.text);
    for token in ["", "x", &others] {
        let fields = [("csrf", token), ("key", ALICE)];
        let answer = mine.send(mine.form("/console/login", &fields)).await;
        answer.is_error_page(403, "CSRF_TOKEN");
        assert_eq!(mine.session(), None);
    }
    // Another site can send the form, and not the cookie.
    let none = Browser::new(&served);
    let fields = [("csrf", &*others), ("key", ALICE)];
    let answer = none.send(none.form("/console/login", &fields)).await;
    answer.is_error_page(403, "CSRF_TOKEN");
    // Its browser says where it comes from.
    for site in ["cross-site", "same-site", "none"] {
        let request = other.plain_form("/console/login", &fields);
        let answer = other.send(request.header("sec-fetch-site", site)).await;
        answer.is_error_page(403, "CROSS_SITE");
        assert_eq!(other.session(), None);
    }
}

#[tokio::test]
async fn a_login_leads_back_to_the_page_that_was_asked_for_and_to_no_other_site() {
    let served = serve().await;
    for (next, leads) in [
        ("/console/approvals/esc_0", "/console/approvals/esc_0"),
        ("https://evil.example/", "/console/approvals"),
        ("//evil.example/console/", "/console/approvals"),
        ("/console//evil.example", "/console/approvals"),
        ("/v1-api-key-self", "/console/approvals"),
    ] {
        let browser = Browser::new(&served);
        let page = browser.page("/console/login").await;
        let token = token_in(&page);
        let fields = [("csrf", &*token), ("key", ALICE), ("next", next)];
        let answer = browser.send(browser.form("/console/login", &fields)).await;
        assert_eq!(answer.header("location"), Some(leads), "{next}");
    }
    let browser = Browser::new(&served);
    let answer = browser.get("/console/approvals/esc_1").await;
    let login = answer.header("location").unwrap().to_owned();
    let page = browser.page(&login).await;
    assert!(
        page.contains(r#"name="next" value="/console/approvals/esc_1""#),
        "{page}"
    );
    assert!(!page.contains("go on"), "{page}");
    // A link on another site: the browser did not send the cookie of a session.
    let request = browser.request(Method::GET, "/console/approvals/esc_1");
    let answer = browser
        .send(request.header("sec-fetch-site", "cross-site"))
        .await;
    let page = browser.page(answer.header("location").unwrap()).await;
    assert!(
        page.contains(r#"<a href="/console/approvals/esc_1">go on</a>"#),
        "{page}"
    );
    let page = browser
        .page("/console/login?linked=1&next=https%3A%2F%2Fevil.example%2F")
        .await;
    assert!(!page.contains("evil"), "{page}");
}

#[tokio::test]
async fn a_malformed_form_is_refused() {
    let served = serve().await;
    let browser = Browser::new(&served);
    let token = token_in(&browser.page("/console/login").await);
    let body = format!("csrf={token}&key={ALICE}");
    let post = |kind: &'static str, body: Vec<u8>| {
        let request = browser.request(Method::POST, "/console/login");
        request
            .header("sec-fetch-site", "same-origin")
            .header("content-type", kind)
            .body(body)
    };
    let form = "application/x-www-form-urlencoded";
    for (request, status, code) in [
        (
            post("application/json", body.clone().into()),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            post("multipart/form-data", body.clone().into()),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (post(form, vec![b'x'; 300 * 1024]), 413, "BODY_TOO_LARGE"),
        (post(form, b"csrf=\xff".to_vec()), 400, "INVALID_FORM"),
        (post(form, b"csrf=%FF".to_vec()), 400, "INVALID_QUERY"),
    ] {
        browser.send(request).await.is_error_page(status, code);
    }
    assert_eq!(browser.session(), None);
    assert_eq!(browser.log_in(ALICE).await.status, 303);
}
