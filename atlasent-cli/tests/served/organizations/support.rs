//! Organizations of a data directory, and requests with their API keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent_authority::keys::{ApiKey, KeyEnvironment, KeyFile};
use atlasent_authority::organizations::{OrgFile, Organization};
use atlasent_authority::store::OrgId;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::http::{Answer, Connection};
use crate::process::Server;

/// Policies that allow what the tests ask for.
pub(crate) const ALLOW: &str =
    r#"permit (principal, action == Action::"deploy.production", resource);"#;

/// Policies that deny it.
pub(crate) const DENY: &str = "forbid (principal, action, resource);";

pub(crate) fn id(text: &str) -> OrgId {
    text.parse().unwrap()
}

/// Registers an organization with [`ALLOW`] as its policies. Returns an API key of it.
pub(crate) fn create(data: &Path, org: &str) -> String {
    let created = registry(data).create(Organization::new(id(org)));
    assert!(created.unwrap());
    write_policies(&policies(data, org), ALLOW);
    create_key(data, org)
}

pub(crate) fn registry(data: &Path) -> OrgFile {
    OrgFile::new(data.join("organizations.json"))
}

/// Changes the record of an organization.
pub(crate) fn change(data: &Path, org: &str, edit: impl FnOnce(&mut Organization)) {
    assert!(registry(data).change(&id(org), edit).unwrap().is_some());
}

/// The folder of an organization's policies.
pub(crate) fn policies(data: &Path, org: &str) -> PathBuf {
    data.join("organizations").join(org).join("policies")
}

/// Replaces the policies in a folder, which is created if it is missing.
pub(crate) fn write_policies(folder: &Path, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("policies.cedar"), text).unwrap();
}

/// Creates an API key of an organization in the data directory.
pub(crate) fn create_key(data: &Path, org: &str) -> String {
    let (key, secret) = new_key(org);
    KeyFile::new(data.join("keys.json")).add(key).unwrap();
    secret
}

/// Returns a new API key of an organization, and its secret.
pub(crate) fn new_key(org: &str) -> (ApiKey, String) {
    let (mut key, secret) = ApiKey::generate(KeyEnvironment::Test).unwrap();
    key.org_id = id(org);
    (key, secret.expose_secret().to_owned())
}

pub(crate) fn connect(server: &Server, key: &str) -> Connection {
    Connection::open(server.address, key).unwrap()
}

pub(crate) fn deploy() -> Value {
    json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    })
}

pub(crate) fn evaluate(server: &Server, key: &str) -> Answer {
    connect(server, key)
        .post("/v1-evaluate", &deploy())
        .unwrap()
}

/// Returns the token of a new permit.
pub(crate) fn token(server: &Server, key: &str) -> String {
    let answer = evaluate(server, key);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["permit_token"].as_str().unwrap().to_owned()
}

pub(crate) fn verify(server: &Server, key: &str, token: &str) -> Answer {
    let question = json!({
        "permit_token": token, "action_type": "deploy.production", "actor_id": "deploy-bot"
    });
    connect(server, key)
        .post("/v1-verify-permit", &question)
        .unwrap()
}

/// Asserts that an answer has this status and code.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    let found = (answer.status, &answer.body["code"]);
    assert_eq!(found, (status, &json!(code)), "{}", answer.body);
}

/// Evaluates until a condition on the answer holds.
#[track_caller]
pub(crate) fn until(server: &Server, key: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    wait(|| Some(evaluate(server, key)).filter(|answer| holds(answer)))
}

/// Waits until there is a value.
#[track_caller]
pub(crate) fn wait<T>(mut value: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(value) = value() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing changed within 30 seconds");
}

/// The names of the files in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
