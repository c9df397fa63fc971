//! A server with a console, a program that waits for people, and browsers.

use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atlasent::{Client, Error, protect};
use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, OidcConfig, OidcVerifier, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
use atlasent_tests::chromium::Chromium;
use atlasent_tests::http::plain;
use atlasent_tests::issuer::Issuer;
use secrecy::SecretString;
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, LoggingPrefsLogLevel};

pub(crate) const AGENT_KEY: &str = "ask_test_0a6e47000a6e47010a6e47020a6e4703";
/// The key of an agent in production.
const LIVE_KEY: &str = "ask_live_0a6e47000a6e47010a6e47020a6e4703";
pub(crate) const ALICE: &str = "ask_test_a11ce0a11ce1a11ce2a11ce3a11ce4a5";
pub(crate) const BOB: &str = "ask_test_b0b00b0b01b0b02b0b03b0b04b0b05bc";
pub(crate) const IAN: &str = "ask_test_1a4001a4011a4021a4031a4041a405ed";
/// The key of a person who may do everything.
pub(crate) const OLGA: &str = "ask_test_0b50000b50010b50020b50030b50040b";

/// How long a loaded machine may take to show something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const POLICIES: &str = r#"
    @id("everyone")
    permit (principal, action, resource);

    @id("second-pair-of-eyes")
    @decision("hold")
    @reason("a deployment to production needs a second pair of eyes")
    @approvers("role:release-manager")
    @approval_ttl("1h")
    @approval_grants("30m")
    @redact("token")
    forbid (principal, action == Action::"deploy.production", resource);

    @id("two-people")
    @decision("hold")
    @reason("dropping a table needs two people")
    @approvers("role:release-manager")
    @quorum("2")
    forbid (principal, action == Action::"table.drop", resource);

    @id("soon-over")
    @decision("hold")
    @reason("decide at once")
    @approvers("role:release-manager")
    @approval_ttl("4s")
    forbid (principal, action == Action::"soon", resource);
"#;

fn key(secret: &str) -> ApiKey {
    ApiKey::parse_allow_weak(&SecretString::from(secret.to_owned())).unwrap()
}

fn person(secret: &str, name: &str, role: &str) -> ApiKey {
    let mut key = key(secret);
    key.scopes = ApiScope::APPROVER.to_vec();
    key.approver = Some(Approver::new(name, [role]).unwrap());
    key
}

/// A running server with a console.
pub(crate) struct Served {
    address: SocketAddr,
    /// The key of its agent.
    agent: &'static str,
}

impl Served {
    pub(crate) async fn start() -> Self {
        let server = Self::server();
        Self::run(server, "127.0.0.1:0".parse().unwrap(), AGENT_KEY).await
    }

    /// Starts a server on which the people of an issuer log in.
    pub(crate) async fn start_with(issuer: &Issuer) -> Self {
        // The issuer is told the address of the console before the server has it.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let settings = issuer.settings(&format!("http://{address}"), "");
        let verifier = OidcVerifier::new(OidcConfig::from_toml(&settings).unwrap()).unwrap();
        let server = Self::server().approvers_by_oidc(verifier);
        // People of an issuer decide what `live` keys asked.
        Self::run(server, address, LIVE_KEY).await
    }

    fn server() -> Server<MemoryStore> {
        let mut olga = person(OLGA, "olga", "release-manager");
        olga.scopes = ApiScope::ALL.to_vec();
        let keys = ApiKeys::new([
            key(AGENT_KEY),
            key(LIVE_KEY),
            person(ALICE, "alice", "release-manager"),
            person(BOB, "bob", "release-manager"),
            person(IAN, "ian", "intern"),
            olga,
        ]);
        let policies = Policies::builder().source("deploy.cedar", POLICIES);
        let authority = LocalAuthority::in_memory(policies.build().unwrap()).unwrap();
        Server::new(authority, keys, KeyRing::in_memory().unwrap()).console()
    }

    async fn run(server: Server<MemoryStore>, address: SocketAddr, agent: &'static str) -> Self {
        let listening = server.listen(address, None).await.unwrap();
        let address = listening.address();
        tokio::spawn(listening.run_until(pending()));
        Self { address, agent }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The client of a program.
    pub(crate) fn client(&self) -> Client {
        let client = Client::builder().api_key(self.agent).base_url(self.url(""));
        let client = client.receipts(true);
        client.build().unwrap()
    }

    /// Sends a request of the program.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let http = plain().build().unwrap();
        let request = http.post(self.url(path));
        let request = request.header("authorization", format!("Bearer {}", self.agent));
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Asks as the program. Returns the id of the pending decision.
    pub(crate) async fn held(&self, action: &str, context: &Value) -> String {
        let body = json!({"action_type": action, "actor_id": "deploy-bot", "context": context});
        let answer = self.post("/v1-evaluate", &body).await;
        let id = answer["escalation_id"].as_str();
        id.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

/// Counts the bodies that ran.
#[derive(Debug, Default)]
pub(crate) struct Ran(AtomicUsize);

impl Ran {
    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The protected function of a program, which waits for people.
#[protect(
    action = "deploy.production",
    agent = "deploy-bot",
    context = { commit, replicas: 3, token: "hunter2" },
    authority = client,
    wait = "2m"
)]
pub(crate) async fn deploy(client: &Client, ran: &Ran, commit: &str) -> Result<String, Error> {
    ran.0.fetch_add(1, Ordering::SeqCst);
    Ok(format!("deployed {commit}"))
}

/// The look of a browser.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) is_dark: bool,
    pub(crate) is_phone: bool,
    pub(crate) has_no_scripts: bool,
}

/// Opens a browser, or returns `None` if there is none.
pub(crate) async fn browser(look: Look) -> Option<Browser> {
    let chromium = Chromium::shared()?;
    let mut capabilities = ChromeCapabilities::new();
    capabilities
        .set_binary(chromium.browser().to_str().unwrap())
        .unwrap();
    for argument in chromium.arguments() {
        capabilities.add_arg(argument).unwrap();
    }
    capabilities.add_arg("--window-size=1100,900").unwrap();
    let scheme = if look.is_dark { 0 } else { 1 };
    let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
    capabilities.add_arg(&scheme).unwrap();
    capabilities
        .set_browser_log_level(LoggingPrefsLogLevel::All)
        .unwrap();
    if look.is_phone {
        let metrics = json!({"deviceMetrics": {"width": 360, "height": 740, "pixelRatio": 1.0, "touch": true}});
        capabilities
            .add_experimental_option("mobileEmulation", metrics)
            .unwrap();
    }
    if look.has_no_scripts {
        let preferences = json!({"profile.managed_default_content_settings.javascript": 2});
        capabilities
            .add_experimental_option("prefs", preferences)
            .unwrap();
    }
    let http = plain().timeout(PATIENCE * 2).build().unwrap();
    let driver = WebDriver::builder(chromium.url(), capabilities).client(http);
    Some(Browser(driver.connect().await.unwrap()))
}

/// A browser of one person.
pub(crate) struct Browser(pub(crate) WebDriver);

impl Browser {
    pub(crate) async fn open(&self, served: &Served, path: &str) {
        self.0.goto(served.url(path)).await.unwrap();
    }

    /// Logs in with a key, with the mouse.
    pub(crate) async fn log_in(&self, served: &Served, key: &str) {
        self.open(served, "/console/login").await;
        self.find("#key").await.send_keys(key).await.unwrap();
        self.click("main button").await;
        self.sees("Waiting").await;
    }

    /// Finds an element, which may be about to appear.
    pub(crate) async fn find(&self, css: &str) -> WebElement {
        let started = Instant::now();
        loop {
            if let Ok(element) = self.0.find(By::Css(css)).await {
                return element;
            }
            if started.elapsed() > PATIENCE {
                panic!("no `{css}`: {}", self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks on an element. A refresh of a list may replace it meanwhile: then on the new one.
    pub(crate) async fn click(&self, css: &str) {
        let started = Instant::now();
        while let Err(error) = self.find(css).await.click().await {
            assert!(started.elapsed() < PATIENCE, "`{css}`: {error}");
        }
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        !self.0.find_all(By::Css(css)).await.unwrap().is_empty()
    }

    /// The text of the page as a person sees it.
    pub(crate) async fn text(&self) -> String {
        // The page may be replaced while it is read.
        let body = self.0.find(By::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page shows a text.
    pub(crate) async fn sees(&self, text: &str) {
        let started = Instant::now();
        loop {
            let shown = self.text().await;
            if shown.contains(text) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "no `{text}`: {shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Loads the page again until it shows a text.
    pub(crate) async fn sees_in_time(&self, text: &str) {
        let started = Instant::now();
        while !self.text().await.contains(text) {
            assert!(started.elapsed() < PATIENCE, "no `{text}`");
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.0.refresh().await.unwrap();
        }
    }

    /// Runs a script of the test, not of the page.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let result = self.0.execute(script, Vec::new()).await.unwrap();
        result.json().clone()
    }

    /// Runs a script of the test until it returns a value, as a page may still be loading.
    pub(crate) async fn run_until(&self, script: &str, value: impl Into<Value>) {
        let (started, value) = (Instant::now(), value.into());
        loop {
            let result = self.run(script).await;
            if result == value {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "`{script}`: {result}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn close(self) {
        self.0.quit().await.unwrap();
    }
}
