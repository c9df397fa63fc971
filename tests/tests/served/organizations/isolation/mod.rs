//! Nothing of one organization is visible to another, or usable by it.
//!
//! The organizations use the same names for everything: API key ids, agents, actions, resources,
//! request ids. What belongs to one alone are its API key, and whatever the server made for it.

mod counters;
mod endpoints;
mod held;
mod load;
mod shared_key;
mod told;

use std::cell::RefCell;
use std::collections::BTreeSet;

use atlasent_authority::MemoryStore;
use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::support::{ACME, Folder, GLOBEX, id};
use crate::support::{Answer, KEY, Served, deploy, memory, stored, with};

/// The organizations, and the key of each.
pub(super) const ORGS: [(&str, &str); 3] = [("local", KEY), ("acme", ACME), ("globex", GLOBEX)];

/// The organization that tries, and the one whose things it tries to reach.
const PAIRS: [[usize; 2]; 4] = [[0, 1], [1, 0], [1, 2], [2, 1]];

const SAME_REQUEST_ID: &str = "the-same-request";
const SAME_HEADER_ID: &str = "the-same-header-id";

/// The keys of all organizations: with all scopes, and with one id.
pub(super) fn same_keys() -> Vec<ApiKey> {
    let keys = ORGS.map(|(org, secret)| {
        let mut key = stored(secret);
        key.org_id = id(org);
        key.key_id = "key_same".to_owned();
        key.scopes = ApiScope::ALL.to_vec();
        key.approver = Some(Approver::new("the-same-person", ["the-same-role"]).unwrap());
        key
    });
    keys.into()
}

/// A server of all organizations.
async fn serve(folder: &Folder) -> Served {
    let ring = KeyRing::in_memory().unwrap();
    let server: Server<MemoryStore> = Server::new(memory(), ApiKeys::new(same_keys()), ring);
    Served::run(server.organizations(folder.hosting().await)).await
}

/// A request that all organizations make in the same words.
fn same_request() -> Value {
    with(
        deploy(),
        &json!({"request_id": SAME_REQUEST_ID, "resource_id": "the-same-resource"}),
    )
}

/// One organization on a server, with the things that the server made for it.
struct Side<'a> {
    org: &'static str,
    key: &'static str,
    served: &'a Served,
    /// The answer to [`same_request`].
    granted: Value,
    stop: Value,
    /// A decision that waits for approvers.
    held: Value,
    /// All requests that the organization has sent.
    said: RefCell<String>,
    /// All answers that it has got.
    heard: RefCell<Vec<String>>,
}

impl<'a> Side<'a> {
    /// Makes the organization's permits, events and stop. `more` events tell it from the others.
    async fn new(
        served: &'a Served,
        (org, key): (&'static str, &'static str),
        more: usize,
    ) -> Self {
        let mut side = Self {
            org,
            key,
            served,
            granted: Value::Null,
            stop: Value::Null,
            held: Value::Null,
            said: RefCell::default(),
            heard: RefCell::default(),
        };
        side.granted = side.post("/v1-evaluate", &same_request()).await.json();
        assert_eq!(side.granted["decision"], "allow", "{}", side.granted);
        let mark = format!("only-of-{org}");
        let only = json!({"request_id": mark, "context": {"patient": mark}});
        let used = side.post("/v1-evaluate", &with(deploy(), &only)).await;
        let used = used.json()["permit_token"].as_str().unwrap().to_owned();
        assert_eq!(side.verify(&used).await["valid"], true);
        let stop = json!({"agent_id": "stopped-bot", "reason": format!("a reason of {org}")});
        side.stop = side.post("/v1/stops", &stop).await.json();
        let held = json!({"agent_id": "deploy-bot", "escalation_reason": format!("held by {org}"),
            "proposed_action": {"action_type": "deploy", "patient": mark}});
        side.held = side.post("/v1/hitl", &held).await.json();
        assert_eq!(side.held["status"], "pending", "{}", side.held);
        for _ in 0..more {
            side.post("/v1-evaluate", &deploy()).await;
        }
        side
    }

    async fn send(&self, method: Method, target: &str, body: Option<&Value>) -> Answer {
        let request = (self.served.bare(method, target))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header("x-request-id", SAME_HEADER_ID)
            .header(CONTENT_TYPE, "application/json");
        self.said.borrow_mut().push_str(target);
        let request = match body {
            Some(body) => {
                self.said.borrow_mut().push_str(&body.to_string());
                request.body(body.to_string())
            }
            None => request,
        };
        let answer = Answer::receive(request).await;
        let headers = format!("{:?}", answer.headers);
        let mut heard = self.heard.borrow_mut();
        heard.extend([headers, answer.text.clone()]);
        answer
    }

    async fn get(&self, target: &str) -> Answer {
        self.send(Method::GET, target, None).await
    }

    async fn post(&self, target: &str, body: &Value) -> Answer {
        self.send(Method::POST, target, Some(body)).await
    }

    async fn verify(&self, token: &str) -> Value {
        let body =
            json!({"permit_token": token, "action_type": "deploy", "actor_id": "deploy-bot"});
        self.post("/v1-verify-permit", &body).await.json()
    }

    fn token(&self) -> &str {
        self.granted["permit_token"].as_str().unwrap()
    }

    fn permit_id(&self) -> &str {
        self.granted["permit_id"].as_str().unwrap()
    }

    fn held_id(&self) -> &str {
        self.held["id"].as_str().unwrap()
    }

    fn stop_id(&self) -> &str {
        self.stop["id"].as_str().unwrap()
    }

    /// The permits, events and stops.
    async fn state(&self) -> Value {
        let mut state = Vec::new();
        for target in [
            "/v1/permits?limit=500",
            "/v1-audit/events?limit=500",
            "/v1/stops",
            "/v1/hitl?limit=500",
        ] {
            state.push(self.get(target).await.json());
        }
        state.into()
    }

    /// All texts that the server has for the organization, and its key.
    async fn facts(&self) -> BTreeSet<String> {
        let mut facts = BTreeSet::from([self.key.to_owned()]);
        for json in [&self.granted, &self.stop, &self.held, &self.state().await] {
            collect(json, &mut facts);
        }
        facts
    }
}

/// Collects the texts that are long enough to be told apart from words. Times are left out: they
/// may be the same by chance.
fn collect(json: &Value, facts: &mut BTreeSet<String>) {
    match json {
        Value::String(text) if text.len() >= 8 && text.parse::<Timestamp>().is_err() => {
            facts.insert(text.clone());
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, facts)),
        Value::Object(all) => all.values().for_each(|one| collect(one, facts)),
        _ => {}
    }
}
