//! What is refused on the way to the issuer and back: no failure leaves a session.

use atlasent_tests::issuer::{CLIENT, Issuer, Script};
use serde_json::json;

use super::{CALLBACK, parameter, serve, serve_for, serve_with, with};
use crate::console::support::{ALICE, Browser};
use crate::support::{Answer, Time};

#[tokio::test]
async fn the_way_back_counts_in_the_browser_that_went_and_unchanged() {
    let (issuer, served) = serve().await;
    let victim = Browser::new(&served);
    let attacker = Browser::new(&served);
    let back = victim.to_issuer("/console/login/oidc").await;
    let others = attacker.to_issuer("/console/login/oidc").await;
    let state = parameter(&others, "state");
    for (target, status, code) in [
        // Somebody else's login, which would log the victim in under another name.
        (others.clone(), 403, "LOGIN_STATE"),
        (with(&back, "state", Some(&state)), 403, "LOGIN_STATE"),
        (with(&back, "state", None), 403, "LOGIN_STATE"),
        (with(&back, "state", Some("x")), 403, "LOGIN_STATE"),
        (CALLBACK.to_owned(), 403, "LOGIN_STATE"),
        (format!("{back}&state=x"), 400, "INVALID_QUERY"),
        (format!("{back}&code=x"), 400, "INVALID_QUERY"),
        (format!("{back}&iss=x"), 400, "INVALID_QUERY"),
        (
            format!("{CALLBACK}?code={}", "x".repeat(5_000)),
            400,
            "INVALID_QUERY",
        ),
        // Nobody without the cookie.
        (
            format!("{CALLBACK}?error=access_denied&state=x"),
            403,
            "LOGIN_STATE",
        ),
    ] {
        let answer = victim.get(&target).await;
        victim.is_refused(&answer, status, code, &target).await;
    }
    let stranger = Browser::new(&served);
    let answer = stranger.get(&back).await;
    stranger
        .is_refused(&answer, 403, "LOGIN_STATE", "no cookie")
        .await;
    assert_eq!(issuer.redeemed().len(), 0, "no code has left the server");
    // A cookie that is there twice was set by somebody else.
    let ticket = victim.cookies.lock().unwrap()["atlasent_oidc"].clone();
    let request = victim.request(reqwest::Method::GET, &back);
    let answer = Answer::receive(request.header("cookie", format!("atlasent_oidc={ticket}"))).await;
    answer.is_error_page(403, "LOGIN_STATE");
    assert_eq!(victim.get(&back).await.status, 200);
}

#[tokio::test]
async fn a_state_and_a_code_count_once() {
    let (issuer, served) = serve().await;
    issuer.set(|script| script.accepts_used_codes = true);
    let alice = Browser::new(&served);
    let back = alice.to_issuer("/console/login/oidc").await;
    let ticket = alice.cookies.lock().unwrap().clone();
    assert_eq!(alice.get(&back).await.status, 200);
    // Somebody has kept the cookie and the address, and the issuer takes the code again.
    let thief = Browser::new(&served);
    *thief.cookies.lock().unwrap() = ticket;
    let answer = thief.get(&back).await;
    thief
        .is_refused(&answer, 403, "LOGIN_STATE", "replayed")
        .await;
    assert_eq!(issuer.redeemed().len(), 1);
    // A used code in a login of one's own.
    issuer.set(|script| script.accepts_used_codes = false);
    let code = parameter(&alice.to_issuer("/console/login/oidc").await, "code");
    let spent = parameter(&back, "code");
    assert_ne!(code, spent);
    for _ in 0..2 {
        let mine = thief.to_issuer("/console/login/oidc").await;
        let answer = thief.get(&with(&mine, "code", Some(&code))).await;
        // The code of another login: its challenge is of another verifier.
        thief
            .is_refused(&answer, 401, "INVALID_CODE", "another's code")
            .await;
    }
    // Were the issuer to ignore the challenge, the nonce would tell.
    issuer.set(|script| script.claims = json!({"nonce": "of-another-login"}));
    let answer = thief.log_in_at_issuer().await;
    thief
        .is_refused(&answer, 401, "INVALID_TOKEN", "another's nonce")
        .await;
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_over() {
    let time = Time::new();
    let (issuer, served) = serve_with("", &time).await;
    let alice = Browser::new(&served);
    for (seconds, is_over) in [(599, false), (600, true), (-1, true)] {
        time.set(0);
        let back = alice.to_issuer("/console/login/oidc").await;
        time.set(seconds);
        issuer.set(|script| script.now = Some(Time::NOON + seconds));
        let answer = alice.get(&back).await;
        match is_over {
            true => answer.is_error_page(403, "LOGIN_STATE"),
            false => assert_eq!(answer.status, 200, "{}", answer.text),
        }
    }
}

#[tokio::test]
async fn the_answer_of_another_issuer_is_refused_before_its_code_is_sent() {
    let (issuer, served) = serve().await;
    let alice = Browser::new(&served);
    for named in [None, Some("https%3A%2F%2Fevil.example"), Some("")] {
        let back = alice.to_issuer("/console/login/oidc").await;
        let answer = alice.get(&with(&back, "iss", named)).await;
        alice
            .is_refused(&answer, 401, "WRONG_ISSUER", &format!("{named:?}"))
            .await;
    }
    assert_eq!(issuer.redeemed().len(), 0);
    // An issuer that does not say that it names itself may leave it out, and not name another.
    let other = Issuer::start("127.0.0.1").await;
    other.set(|script| {
        script.now = Some(Time::NOON);
        script.discovery = json!({"authorization_response_iss_parameter_supported": null});
    });
    let served = serve_for(&other, "", &Time::new()).await;
    let alice = Browser::new(&served);
    let back = alice.to_issuer("/console/login/oidc").await;
    let answer = alice
        .get(&with(&back, "iss", Some("https%3A%2F%2Fevil.example")))
        .await;
    alice
        .is_refused(&answer, 401, "WRONG_ISSUER", "another one")
        .await;
    let back = alice.to_issuer("/console/login/oidc").await;
    assert_eq!(alice.get(&with(&back, "iss", None)).await.status, 200);
}

#[tokio::test]
async fn an_issuer_that_refuses_logs_nobody_in() {
    let (issuer, served) = serve().await;
    let alice = Browser::new(&served);
    for error in [
        "access_denied",
        "%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E",
    ] {
        let back = alice.to_issuer("/console/login/oidc").await;
        let refused = with(&back, "code", None) + "&error=" + error;
        let answer = alice.get(&refused).await;
        alice.is_refused(&answer, 403, "LOGIN_REFUSED", error).await;
        assert!(!answer.text.contains("<script>"), "{}", answer.text);
        // Both a code and an error are neither.
        let back = alice.to_issuer("/console/login/oidc").await;
        let answer = alice.get(&format!("{back}&error={error}")).await;
        alice.is_refused(&answer, 403, "LOGIN_REFUSED", error).await;
    }
    assert_eq!(issuer.redeemed().len(), 0);
}

#[tokio::test]
async fn only_a_good_token_logs_in() {
    let (issuer, served) = serve().await;
    let now = Time::NOON;
    for claims in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "another-client"}),
        json!({"aud": "atlasent"}),
        json!({"aud": null}),
        json!({"aud": [CLIENT, "another"]}),
        json!({"aud": [CLIENT, "another"], "azp": "another"}),
        json!({"azp": "another"}),
        json!({"azp": 7}),
        json!({"nonce": null}),
        json!({"nonce": "x"}),
        json!({"nonce": ["x"]}),
        json!({"exp": now - 60}),
        json!({"exp": null}),
        json!({"iat": null}),
        json!({"iat": now + 61}),
        json!({"nbf": now + 61}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"roles": 7}),
    ] {
        issuer.set(|script| script.claims = claims.clone());
        let browser = Browser::new(&served);
        let answer = browser.log_in_at_issuer().await;
        browser
            .is_refused(&answer, 401, "INVALID_TOKEN", &claims.to_string())
            .await;
    }
    issuer.set(|script| script.claims = json!({}));
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "logout+jwt"}),
        json!({"kid": "other"}),
        json!({"crit": ["x"]}),
    ] {
        issuer.set(|script| script.header = header.clone());
        let browser = Browser::new(&served);
        let answer = browser.log_in_at_issuer().await;
        browser
            .is_refused(&answer, 401, "INVALID_TOKEN", &header.to_string())
            .await;
    }
    issuer.set(|script| {
        script.header = json!({});
        script.is_forged = true;
    });
    let browser = Browser::new(&served);
    let answer = browser.log_in_at_issuer().await;
    browser
        .is_refused(&answer, 401, "INVALID_TOKEN", "another key")
        .await;
    // For several audiences, with a party that is this console.
    issuer.set(|script| {
        script.is_forged = false;
        script.claims = json!({"aud": [CLIENT, "another"], "azp": CLIENT});
    });
    assert_eq!(browser.log_in_at_issuer().await.status, 200);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_logs_nobody_in() {
    let (issuer, served) = serve().await;
    let token = |text: &str| Some((200, text.to_owned()));
    let refusal = |status, error: &str| Some((status, json!({"error": error}).to_string()));
    for (answer, status, code) in [
        (refusal(400, "invalid_grant"), 401, "INVALID_CODE"),
        (refusal(400, "invalid_client"), 503, "ISSUER_UNAVAILABLE"),
        (refusal(401, "invalid_client"), 503, "ISSUER_UNAVAILABLE"),
        (refusal(400, "s3cret<script>"), 503, "ISSUER_UNAVAILABLE"),
        (Some((500, String::new())), 503, "ISSUER_UNAVAILABLE"),
        // Redirects are not followed.
        (Some((307, String::new())), 503, "ISSUER_UNAVAILABLE"),
        (token(""), 503, "ISSUER_UNAVAILABLE"),
        (token("<html>"), 503, "ISSUER_UNAVAILABLE"),
        (token("{}"), 503, "ISSUER_UNAVAILABLE"),
        (token(r#"{"id_token":7}"#), 503, "ISSUER_UNAVAILABLE"),
        (token(r#"{"access_token":"x"}"#), 503, "ISSUER_UNAVAILABLE"),
        (token(r#"{"id_token":"x"}"#), 401, "INVALID_TOKEN"),
        (token(&" ".repeat(300_000)), 503, "ISSUER_UNAVAILABLE"),
    ] {
        let case = format!("{answer:.60?}");
        issuer.set(|script| script.token_answer = answer.clone());
        let browser = Browser::new(&served);
        let page = browser.log_in_at_issuer().await;
        browser.is_refused(&page, status, code, &case).await;
        assert!(!page.text.contains("s3cret"), "{}", page.text);
    }
    // API keys still work.
    issuer.set(|script| script.is_down = true);
    Browser::logged_in(&served, ALICE).await;
}

#[tokio::test]
async fn an_issuer_that_is_down_is_said_to_be() {
    let issuer = Issuer::start("127.0.0.1").await;
    let changes: [fn(&mut Script); 5] = [
        |script| script.is_down = true,
        |script| script.discovery = json!({"issuer": "https://evil.example"}),
        |script| script.discovery = json!({"token_endpoint": null}),
        |script| script.discovery = json!({"authorization_endpoint": "http://evil.example/"}),
        |script| script.discovery = json!({"code_challenge_methods_supported": ["plain"]}),
    ];
    for change in changes {
        issuer.set(|script| {
            (script.is_down, script.discovery) = (false, json!({}));
            change(script);
        });
        let served = serve_for(&issuer, "", &Time::new()).await;
        let browser = Browser::new(&served);
        let answer = browser.get("/console/login/oidc").await;
        browser
            .is_refused(&answer, 503, "ISSUER_UNAVAILABLE", "down")
            .await;
        assert!(answer.header("retry-after").is_some());
        assert!(answer.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn no_other_site_begins_a_login_and_none_is_led_to() {
    let (issuer, served) = serve().await;
    let browser = Browser::new(&served);
    for site in ["cross-site", "same-site"] {
        let request = browser.request(reqwest::Method::GET, "/console/login/oidc");
        let answer = browser.send(request.header("sec-fetch-site", site)).await;
        assert_eq!(answer.header("location"), Some("/console/login"));
        assert!(answer.header("set-cookie").is_none());
    }
    for next in [
        "https%3A%2F%2Fevil.example%2F",
        "%2F%2Fevil.example%2Fconsole%2F",
        "%2Fconsole%2F%2Fevil.example",
        "%2Fv1-api-key-self",
        "%2Fconsole%2Fx%3Burl%3Dhttps%3A%2F%2Fevil.example",
    ] {
        let back = browser
            .to_issuer(&format!("/console/login/oidc?next={next}"))
            .await;
        let answer = browser.get(&back).await;
        assert_eq!(answer.header("refresh"), Some("0;url=/console/approvals"));
        assert!(!answer.text.contains("evil"), "{}", answer.text);
    }
    // A path that somebody wrote into the cookie.
    let back = browser.to_issuer("/console/login/oidc").await;
    let ticket = browser.cookies.lock().unwrap()["atlasent_oidc"].clone();
    let changed = ("atlasent_oidc".to_owned(), ticket + "/evil");
    browser.cookies.lock().unwrap().extend([changed]);
    browser.get(&back).await.is_error_page(403, "LOGIN_STATE");
    assert_eq!(issuer.redeemed().len(), 5);
}

#[tokio::test]
async fn wrong_codes_are_counted_with_wrong_keys() {
    let (issuer, served) = serve().await;
    let refusal = json!({"error": "invalid_grant"}).to_string();
    issuer.set(|script| script.token_answer = Some((400, refusal.clone())));
    let browser = Browser::new(&served);
    for _ in 0..60 {
        browser
            .log_in_at_issuer()
            .await
            .is_error_page(401, "INVALID_CODE");
    }
    let answer = browser.log_in_at_issuer().await;
    answer.is_error_page(429, "TOO_MANY_WRONG_KEYS");
    // A right one is never throttled.
    issuer.set(|script| script.token_answer = None);
    assert_eq!(browser.log_in_at_issuer().await.status, 200);
}
