//! A server with the organizations `acme` and `globex` beside `local`, and callers with their keys.

use std::fs;
use std::path::Path;

use atlasent_authority::keys::ApiKey;
use atlasent_authority::organizations::{OrgFile, Organization};
use atlasent_authority::server::{ApiKeys, OrgHosting, OrgRegistry, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{OrgId, Organizations, RateCounter, Store};
use atlasent_authority::{LocalAuthority, MemoryStore};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, KEY, POLICIES, Served, deploy, ms, policies, stored, token_of};

pub(crate) const ACME: &str = "ask_test_acme-0123456789";
pub(crate) const GLOBEX: &str = "ask_test_globex-0123456789";

pub(crate) fn id(text: &str) -> OrgId {
    text.parse().unwrap()
}

/// Returns the stored form of a key of an organization.
pub(crate) fn key_of(org: &str, secret: &str) -> ApiKey {
    let mut key = stored(secret);
    key.org_id = id(org);
    key
}

/// The keys of `local`, `acme` and `globex`.
pub(crate) fn keys() -> ApiKeys {
    ApiKeys::new([stored(KEY), key_of("acme", ACME), key_of("globex", GLOBEX)])
}

/// The folder of a server: its registry, and the policies of its organizations.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Creates a folder with the organizations `acme` and `globex`, whose policies are those of
    /// `local`.
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for org in ["acme", "globex"] {
            folder
                .registry()
                .create(Organization::new(id(org)))
                .unwrap();
            folder.write_policies(org, POLICIES);
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn registry(&self) -> OrgFile {
        OrgFile::new(self.path().join("organizations.json"))
    }

    /// Changes the record of an organization.
    pub(crate) fn change(&self, org: &str, change: impl FnOnce(&mut Organization)) {
        let changed = self.registry().change(&id(org), change).unwrap();
        assert!(changed.is_some());
    }

    pub(crate) fn write_policies(&self, org: &str, text: &str) {
        let folder = self.path().join(org);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policies.cedar"), text).unwrap();
    }

    pub(crate) async fn hosting(&self) -> OrgHosting {
        let registry = OrgRegistry::default().with_file(self.registry()).await;
        let base = self.path().to_owned();
        OrgHosting::new(registry.unwrap(), move |id| base.join(id.as_str())).settle(ms(0))
    }

    /// Starts a server in memory.
    pub(crate) async fn serve(&self) -> Served {
        self.serve_on(MemoryStore::new(), |hosting| hosting).await
    }

    /// Starts a server on a medium.
    pub(crate) async fn serve_on<S: Store + RateCounter + Organizations<Store = S>>(
        &self,
        medium: S,
        set: impl FnOnce(OrgHosting) -> OrgHosting,
    ) -> Served {
        Served::run(self.server_on(medium, set).await).await
    }

    pub(crate) async fn server_on<S: Store + RateCounter + Organizations<Store = S>>(
        &self,
        medium: S,
        set: impl FnOnce(OrgHosting) -> OrgHosting,
    ) -> Server<S> {
        let authority = LocalAuthority::builder(policies()).store(medium);
        let authority = authority.build().await.unwrap();
        Server::new(authority, keys(), KeyRing::in_memory().unwrap())
            .organizations(set(self.hosting().await))
    }
}

/// A caller with the key of an organization.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) served: &'a Served,
    pub(crate) key: &'a str,
}

impl Served {
    pub(crate) fn caller<'a>(&'a self, key: &'a str) -> Caller<'a> {
        Caller { served: self, key }
    }
}

impl Caller<'_> {
    pub(crate) async fn send(&self, method: Method, target: &str, body: Option<&Value>) -> Answer {
        let request = (self.served.bare(method, target))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(CONTENT_TYPE, "application/json");
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        Answer::receive(request).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(Method::GET, target, None).await
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.send(Method::POST, target, Some(body)).await
    }

    pub(crate) async fn evaluate(&self, body: &Value) -> Answer {
        self.post("/v1-evaluate", body).await
    }

    pub(crate) async fn verify(&self, token: &str) -> Answer {
        let body =
            json!({"permit_token": token, "action_type": "deploy", "actor_id": "deploy-bot"});
        self.post("/v1-verify-permit", &body).await
    }

    /// Returns the token of a permit to deploy.
    pub(crate) async fn token(&self) -> String {
        token_of(&self.evaluate(&deploy()).await)
    }

    /// Returns the types of the events of the caller's chain, the oldest first.
    pub(crate) async fn events(&self) -> Vec<String> {
        let page = self.get("/v1-audit/events?limit=500").await.json();
        let events = page["events"].as_array().unwrap().iter();
        let types = events.map(|event| event["type"].as_str().unwrap().to_owned());
        types.collect()
    }

    /// Waits until a condition on the answer to an evaluation holds.
    pub(crate) async fn until(&self, holds: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..600 {
            let answer = self.evaluate(&deploy()).await;
            if holds(&answer) {
                return answer;
            }
            tokio::time::sleep(ms(50)).await;
        }
        panic!("the answers did not change within 30 seconds");
    }
}
