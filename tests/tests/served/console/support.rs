//! A server with a console, and a browser without scripts: it keeps cookies, and fills in the forms
//! that it gets.

use std::collections::BTreeMap;
use std::sync::Mutex;

use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{RateCounter, Store};
use atlasent_authority::{LocalAuthority, Policies};
use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, KEY, Served, Time, stored};

pub(super) const ALICE: &str = "ask_test_a11ce0a11ce1a11ce2a11ce3a11ce4a5";
pub(super) const BOB: &str = "ask_test_b0b00b0b01b0b02b0b03b0b04b0b05bc";
pub(super) const IAN: &str = "ask_test_1a4001a4011a4021a4031a4041a405ed";
/// The key of a person who may do everything.
pub(super) const OPS: &str = "ask_test_0b50000b50010b50020b50030b50040b";

pub(super) const HOLDS: &str = r#"
    @id("everyone") @budget("calls 1000/hour per agent, calls 1000/hour per resource") permit (principal, action, resource);

    @id("four-eyes") @decision("hold") @reason("a release needs two people")
    @approvers("role:sre") @quorum("2") @approval_ttl("1h") @redact("token")
    forbid (principal, action == Action::"release", resource);

    @id("one-eye") @decision("hold") @reason("a deploy needs a person")
    @approvers("role:sre") @approval_ttl("1h") @approval_grants("30m")
    forbid (principal, action == Action::"deploy", resource);
"#;

/// Returns the stored form of a key of a person.
pub(super) fn person(key: &str, name: &str, role: &str) -> ApiKey {
    let mut key = stored(key);
    key.scopes = ApiScope::APPROVER.to_vec();
    key.approver = Some(Approver::new(name, [role]).unwrap());
    key
}

/// The keys of the tests: of the agent, and of four people.
pub(super) fn all_keys() -> Vec<ApiKey> {
    let mut ops = person(OPS, "olga", "sre");
    ops.scopes = ApiScope::ALL.to_vec();
    vec![
        stored(KEY),
        person(ALICE, "alice", "sre"),
        person(BOB, "bob", "sre"),
        person(IAN, "ian", "intern"),
        ops,
    ]
}

/// Builds a server with a console.
pub(super) fn with_console<S: Store + RateCounter>(
    authority: LocalAuthority<S>,
    keys: ApiKeys,
) -> Server<S> {
    Server::new(authority, keys, KeyRing::in_memory().unwrap()).console()
}

/// Starts a server with a console.
pub(super) async fn serve() -> Served {
    let authority = LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap();
    Served::run(with_console(authority, ApiKeys::new(all_keys()))).await
}

/// Starts a server with a console, whose clock a test sets.
pub(super) async fn serve_at(time: &Time) -> Served {
    let authority = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
    let authority = authority.clock(time.clock()).build().await.unwrap();
    Served::run(with_console(authority, ApiKeys::new(all_keys()))).await
}

/// Asks as the agent. Returns the id of the pending decision.
pub(super) async fn held(served: &Served, action: &str, context: Value) -> String {
    let answer = ask(served, action, context).await;
    assert_eq!(answer["decision"], "hold", "{answer}");
    answer["escalation_id"].as_str().unwrap().to_owned()
}

pub(super) async fn ask(served: &Served, action: &str, context: Value) -> Value {
    let body = json!({"action_type": action, "actor_id": "deploy-bot", "context": context});
    served.evaluate(&body).await.json()
}

/// A browser of one person. It follows no redirect by itself.
pub(super) struct Browser<'a> {
    served: &'a Served,
    pub(super) cookies: Mutex<BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(served: &'a Served) -> Self {
        Self {
            served,
            cookies: Mutex::default(),
        }
    }

    /// Logs in with a key.
    pub(super) async fn logged_in(served: &'a Served, key: &str) -> Self {
        let browser = Self::new(served);
        let answer = browser.log_in(key).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        browser
    }

    pub(super) async fn log_in(&self, key: &str) -> Answer {
        let page = self.get("/console/login").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let token = token_in(&page.text);
        let fields = [("csrf", &*token), ("key", key)];
        self.send(self.form("/console/login", &fields)).await
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.send(self.request(Method::GET, target)).await
    }

    /// Returns the page at a target that the visitor may see.
    pub(super) async fn page(&self, target: &str) -> String {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text);
        answer.text
    }

    /// Fills in the form of a page, with its token, and sends it.
    pub(super) async fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let text = self.page(page).await;
        let token = token_in(&text);
        let mut all = vec![("csrf", &*token)];
        all.extend(fields);
        self.send(self.form(action, &all)).await
    }

    /// Votes on the page of a decision.
    pub(super) async fn vote(&self, id: &str, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/console/approvals/{id}");
        let text = self.page(&path).await;
        let shown = value_of(&text, "shown").unwrap_or_default();
        let mut all = vec![("shown", &*shown)];
        all.extend(fields);
        self.submit(&path, &format!("{path}/vote"), &all).await
    }

    /// Builds the request of a form, as a browser on a page of this server sends it.
    pub(super) fn form(&self, target: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.plain_form(target, fields)
            .header("sec-fetch-site", "same-origin")
            .header(ORIGIN, "null")
    }

    /// Builds the request of a form without the headers that say where it comes from.
    pub(super) fn plain_form(&self, target: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let fields = fields.iter().map(|(name, value)| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={value}")
        });
        self.request(Method::POST, target)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(fields.collect::<Vec<_>>().join("&"))
    }

    pub(super) fn request(&self, method: Method, target: &str) -> RequestBuilder {
        let cookies = self.cookies.lock().unwrap();
        let cookies: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = self.served.bare(method, target);
        match cookies.is_empty() {
            true => request,
            false => request.header(COOKIE, cookies.join("; ")),
        }
    }

    /// Sends a request, and keeps the cookies of the answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = Answer::receive(request).await;
        let mut cookies = self.cookies.lock().unwrap();
        for cookie in answer.headers.get_all("set-cookie") {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => cookies.remove(name),
                false => cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    pub(super) fn session(&self) -> Option<String> {
        self.cookies
            .lock()
            .unwrap()
            .get("atlasent_console")
            .cloned()
    }
}

/// Returns the token of the forms of a page.
pub(super) fn token_in(page: &str) -> String {
    value_of(page, "csrf").unwrap_or_else(|| panic!("no form: {page}"))
}

/// Returns the value of the first hidden field with this name.
pub(super) fn value_of(page: &str, name: &str) -> Option<String> {
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&field)?;
    Some(rest.split('"').next().unwrap().to_owned())
}

impl Answer {
    /// Asserts that a page of an error has a status and a code.
    #[track_caller]
    pub(super) fn is_error_page(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(
            self.text.contains(&format!("<code>{code}</code>")),
            "{}",
            self.text
        );
        assert!(
            self.header("content-type")
                .unwrap()
                .starts_with("text/html")
        );
    }

    /// Asserts that the answer leads to the login.
    #[track_caller]
    pub(super) fn leads_to_login(&self) {
        assert_eq!(self.status, 303, "{}", self.text);
        let location = self.header("location").unwrap();
        assert!(location.starts_with("/console/login"), "{location}");
    }
}
