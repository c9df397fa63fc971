//! Logging in at an OpenID Connect issuer: who gets in, and how long a session lasts.

mod refused;

use atlasent_authority::server::{ApiKeys, OidcConfig, OidcVerifier};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::issuer::{CLIENT, Issuer, SECRET, TokenRequest};
use base64ct::{Base64, Encoding};
use serde_json::json;

use super::support::{Browser, HOLDS, all_keys, with_console};
use crate::support::{Answer, Served, Time, stored};

const CONSOLE: &str = "https://console.example";
const CALLBACK: &str = "/console/login/oidc/callback";
const AGENT: &str = "ask_live_0a6e47000a6e47010a6e47020a6e4703";

/// Starts a server with a console that has the login of an issuer, and an issuer.
async fn serve_with(more: &str, time: &Time) -> (Issuer, Served) {
    let issuer = Issuer::start("127.0.0.1").await;
    issuer.set(|script| script.now = Some(Time::NOON));
    let served = serve_for(&issuer, more, time).await;
    (issuer, served)
}

async fn serve_for(issuer: &Issuer, more: &str, time: &Time) -> Served {
    let config = OidcConfig::from_toml(&issuer.settings(CONSOLE, more)).unwrap();
    let verifier = OidcVerifier::with_clock(config, time.clock()).unwrap();
    let authority = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
    let authority = authority.clock(time.clock()).build().await.unwrap();
    let mut keys = all_keys();
    keys.push(stored(AGENT));
    let server = with_console(authority, ApiKeys::new(keys)).approvers_by_oidc(verifier);
    Served::run(server).await
}

async fn serve() -> (Issuer, Served) {
    serve_with("", &Time::new()).await
}

impl Browser<'_> {
    /// Goes to the issuer. Returns the address to which it leads back, on this server.
    async fn to_issuer(&self, target: &str) -> String {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let request = atlasent_tests::http::plain().build().unwrap();
        let page = request.get(answer.header("location").unwrap()).send().await;
        let page = page.unwrap().text().await.unwrap();
        let (_, link) = page.split_once("href=\"").unwrap();
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        link.strip_prefix(CONSOLE).unwrap().to_owned()
    }

    /// Logs alice in at the issuer.
    async fn log_in_at_issuer(&self) -> Answer {
        let back = self.to_issuer("/console/login/oidc").await;
        self.get(&back).await
    }

    /// Asserts that a login was refused, and left no session.
    async fn is_refused(&self, answer: &Answer, status: u16, code: &str, case: &str) {
        assert_eq!(answer.status, status, "{case}: {}", answer.text);
        answer.is_error_page(status, code);
        assert_eq!(self.session(), None, "{case}");
        self.get("/console/approvals").await.leads_to_login();
    }
}

fn parameter(target: &str, name: &str) -> String {
    let (_, query) = target.split_once('?').unwrap();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
        .to_owned()
}

/// Returns a target with another value of a parameter, or without it.
fn with(target: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = target.split_once('?').unwrap();
    let pairs = query
        .split('&')
        .filter(|pair| !pair.starts_with(&format!("{name}=")));
    let new = value.map(|value| format!("{name}={value}"));
    let pairs: Vec<_> = pairs.map(str::to_owned).chain(new).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[tokio::test]
async fn a_person_of_the_issuer_logs_in_and_approves() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let secret =
        format!("client_secret = {{ file = {file:?} }}\nscopes = [\"openid\", \"groups\"]");
    let (issuer, served) = serve_with(&secret, &Time::new()).await;
    let agent = served.caller(AGENT);
    let body = json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": {"n": 1}});
    let held = agent.post("/v1-evaluate", &body).await.json();
    let id = held["escalation_id"].as_str().unwrap();
    let path = format!("/console/approvals/{id}");

    let alice = Browser::new(&served);
    let page = alice.page(&format!("/console/login?next={path}")).await;
    // Both ways are offered.
    assert!(page.contains("API key of an approver") && page.contains("Log in with 127.0.0.1"));
    let begin = format!("/console/login/oidc?next={path}");
    assert!(page.contains(&format!("href=\"{begin}\"")), "{page}");
    let begun = alice.get(&begin).await;
    let cookie = begun.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("atlasent_oidc=")
            && cookie.ends_with("; Path=/console/login/oidc; HttpOnly; SameSite=Lax; Max-Age=600"),
        "{cookie}"
    );
    let location = begun.header("location").unwrap();
    assert!(
        location.starts_with(&format!("{}/authorize?", issuer.url())),
        "{location}"
    );
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("scope", "openid+groups"),
        ("code_challenge_method", "S256"),
        (
            "redirect_uri",
            "https%3A%2F%2Fconsole.example%2Fconsole%2Flogin%2Foidc%2Fcallback",
        ),
    ] {
        assert_eq!(parameter(location, name), value);
    }

    let back = alice.to_issuer(&begin).await;
    let answer = alice.get(&back).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // A page, since a redirect from another site would not carry the cookie of the session.
    assert_eq!(answer.header("refresh"), Some(&*format!("0;url={path}")));
    assert!(
        answer
            .text
            .contains(&format!("<a href=\"{path}\">Go on</a>")),
        "{}",
        answer.text
    );
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    let session = cookies[0].to_str().unwrap();
    assert!(
        session.ends_with("; Path=/console; HttpOnly; SameSite=Strict"),
        "{session}"
    );
    assert!(
        cookies[2].to_str().unwrap().ends_with("Max-Age=0"),
        "{cookies:?}"
    );
    assert!(alice.page(&path).await.contains("<b>alice</b> in local"));
    let TokenRequest {
        form,
        authorization,
    } = issuer.redeemed().pop().unwrap();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code_verifier"].len(), 43);
    assert!(!form.contains_key("client_secret"));
    let pair = authorization.unwrap();
    let pair = Base64::decode_vec(pair.strip_prefix("Basic ").unwrap()).unwrap();
    let expected = "atlasent%2Dconsole:s3cret%2B%2F%3A%3D%25";
    assert_eq!(String::from_utf8(pair).unwrap(), expected);

    let voted = alice
        .vote(id, &[("vote", "approve"), ("note", "fine")])
        .await;
    assert_eq!(voted.status, 303, "{}", voted.text);
    let allowed = agent.post("/v1-evaluate", &body).await.json();
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    // The scopes of an approver, and no others.
    alice
        .get("/console/stops")
        .await
        .is_error_page(403, "INSUFFICIENT_SCOPE");
    alice
        .submit("/console/approvals", "/console/logout", &[])
        .await
        .leads_to_login();
    alice.get("/console/approvals").await.leads_to_login();
}

#[tokio::test]
async fn a_person_with_the_name_of_the_agent_cannot_approve_what_it_asks() {
    let (issuer, served) = serve().await;
    issuer.set(|script| script.claims = json!({"sub": "Deploy-Bot"}));
    let body = json!({"action_type": "deploy", "actor_id": "deploy-bot"});
    let held = served
        .caller(AGENT)
        .post("/v1-evaluate", &body)
        .await
        .json();
    let id = held["escalation_id"].as_str().unwrap();
    let bot = Browser::new(&served);
    assert_eq!(bot.log_in_at_issuer().await.status, 200);
    let path = format!("/console/approvals/{id}");
    let page = bot.page(&path).await;
    assert!(
        page.contains("nobody can approve what they asked for themselves"),
        "{page}"
    );
    let again = served
        .caller(AGENT)
        .post("/v1-evaluate", &body)
        .await
        .json();
    assert_eq!(again["decision"], "hold");
}

#[tokio::test]
async fn without_its_settings_there_is_no_login_with_an_issuer() {
    let served = super::support::serve().await;
    let browser = Browser::new(&served);
    let page = browser.page("/console/login").await;
    assert!(!page.contains("/console/login/oidc"), "{page}");
    for target in ["/console/login/oidc", CALLBACK] {
        browser.get(target).await.is_error_page(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_session_ends_with_the_token_or_after_a_fixed_time() {
    for (more, last) in [("", 299), ("session = \"20m\"", 1_199)] {
        let time = Time::new();
        let (_issuer, served) = serve_with(more, &time).await;
        let alice = Browser::new(&served);
        assert_eq!(alice.log_in_at_issuer().await.status, 200);
        time.set(last);
        alice.page("/console/approvals").await;
        time.set(last + 1);
        alice.get("/console/approvals").await.leads_to_login();
        time.set(last);
        alice.get("/console/approvals").await.leads_to_login();
    }
    let time = Time::new();
    let (_issuer, served) = serve_with("session = \"12h\"", &time).await;
    let alice = Browser::new(&served);
    assert_eq!(alice.log_in_at_issuer().await.status, 200);
    time.set(29 * 60);
    alice.page("/console/approvals").await;
    time.set(59 * 60);
    alice.get("/console/approvals").await.leads_to_login();
}

#[tokio::test]
async fn a_login_starts_a_session_under_a_new_id_and_ends_the_former_one() {
    let (_issuer, served) = serve().await;
    let browser = Browser::new(&served);
    let planted = "A".repeat(43);
    let plant = ("atlasent_console".to_owned(), planted.clone());
    browser.cookies.lock().unwrap().extend([plant]);
    assert_eq!(browser.log_in_at_issuer().await.status, 200);
    let first = browser.session().unwrap();
    assert_ne!(first, planted);
    assert_eq!(first.len(), 43);
    let older = Browser::new(&served);
    let cookie = ("atlasent_console".to_owned(), first.clone());
    older.cookies.lock().unwrap().extend([cookie]);
    older.page("/console/approvals").await;
    assert_eq!(browser.log_in_at_issuer().await.status, 200);
    assert_ne!(browser.session().unwrap(), first);
    older.get("/console/approvals").await.leads_to_login();
}

#[tokio::test]
async fn a_client_without_a_secret_is_named_in_the_form_and_one_secret_may_be_there_too() {
    let (issuer, served) = serve().await;
    assert_eq!(Browser::new(&served).log_in_at_issuer().await.status, 200);
    let TokenRequest {
        form,
        authorization,
    } = issuer.redeemed().pop().unwrap();
    assert_eq!((&*form["client_id"], authorization), (CLIENT, None));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    issuer.set(|script| {
        let methods = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
        script.discovery = methods;
    });
    let secret = format!("client_secret = {{ file = {file:?} }}");
    let served = serve_for(&issuer, &secret, &Time::new()).await;
    assert_eq!(Browser::new(&served).log_in_at_issuer().await.status, 200);
    let TokenRequest {
        form,
        authorization,
    } = issuer.redeemed().pop().unwrap();
    assert_eq!((&*form["client_secret"], authorization), (SECRET, None));
}
