//! Isolation under load, while policies are replaced, and organizations are suspended, resumed and
//! dropped from memory.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atlasent::audit::{BundleVerifier, TrustedKeys};
use atlasent_authority::keys::KeyFile;
use atlasent_authority::organizations::Suspension;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{Organizations, RateCounter, Store};
use atlasent_authority::{LocalAuthority, MemoryStore, PostgresStore, RedbStore};
use atlasent_tests::postgres::PrivatePostgres;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{ORGS, same_keys};
use crate::organizations::support::{Folder, key_of};
use crate::support::{AGENT, Answer, POLICIES, Served, deploy, ms, policies};

/// How long the load lasts: longer on a busy machine, until each organization has used some permits.
const LOAD: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(120);
const ENOUGH: usize = 4;

const TASKS: usize = 3;

/// Policies that permit nothing.
const NOTHING: &str = "forbid (principal, action, resource);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_under_load_stay_apart_in_memory() {
    stay_apart(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_under_load_stay_apart_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    stay_apart(RedbStore::open(folder.path().join("store")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_under_load_stay_apart_in_postgresql() {
    let starting = tokio::task::spawn_blocking(PrivatePostgres::shared);
    let Some(server) = starting.await.unwrap() else {
        return;
    };
    let url = server.database().await;
    stay_apart(PostgresStore::connect(&url).await.unwrap()).await;
}

/// A permit that an organization was granted.
#[derive(Clone)]
struct Granted {
    org: &'static str,
    token: String,
}

/// The facts that the tasks note for the check at the end.
#[derive(Default)]
struct Notes {
    granted: Vec<Granted>,
    /// The organizations that each token was valid for, once for each valid answer.
    accepted: HashMap<String, Vec<&'static str>>,
    /// How many tokens of another organization were tried.
    foreign: usize,
    /// The public ids of the permits of each organization.
    permit_ids: HashMap<&'static str, HashSet<String>>,
    statuses: HashMap<u16, usize>,
}

type SharedNotes = Arc<Mutex<Notes>>;

impl Notes {
    /// Whether the load has lasted long enough.
    fn is_enough(&self, started: Instant) -> bool {
        let used = |org| {
            let accepted = self.accepted.values();
            accepted.filter(|orgs| orgs.first() == Some(org)).count()
        };
        let has_used = ORGS.iter().all(|(org, _)| used(org) >= ENOUGH);
        let lasted = started.elapsed();
        lasted >= LONGEST || (lasted >= LOAD && has_used && self.foreign > 20)
    }
}

async fn stay_apart<S: Store + RateCounter + Organizations<Store = S>>(medium: S) {
    let folder = Folder::new();
    let keys = KeyFile::new(folder.path().join("keys.json"));
    for key in same_keys() {
        keys.add(key).unwrap();
    }
    // Keys that are revoked on the way.
    for (org, _) in ORGS {
        keys.add(key_of(org, &spare_key(org))).unwrap();
    }
    let authority = LocalAuthority::builder(policies()).store(medium);
    let authority = authority.build().await.unwrap();
    let accepted = ApiKeys::default().with_file(keys.clone()).await.unwrap();
    let hosting = folder.hosting().await;
    let hosting = hosting.max_loaded(NonZeroUsize::MIN).idle(ms(0));
    let server = Server::new(authority, accepted, KeyRing::in_memory().unwrap());
    let served = Arc::new(Served::run(server.organizations(hosting)).await);

    let notes = SharedNotes::default();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (place, (org, key)) in ORGS.into_iter().enumerate() {
        for task in 0..TASKS {
            // The last task of each organization uses the key that is revoked.
            let key = if task + 1 == TASKS {
                spare_key(org)
            } else {
                key.to_owned()
            };
            let task = Task {
                org,
                key,
                served: Arc::clone(&served),
                notes: Arc::clone(&notes),
                random: 1 + (place * TASKS + task) as u64,
                calls: 0,
                name: task,
                is_revoked: false,
            };
            tasks.spawn(task.run(started));
        }
    }
    disturb(&folder, &keys, || notes.lock().unwrap().is_enough(started)).await;
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let notes = Arc::into_inner(notes).unwrap().into_inner().unwrap();
    check(&served, &notes).await;
}

fn spare_key(org: &str) -> String {
    format!("ask_test_spare-{org}-0123456789")
}

/// Replaces the policies of `acme`, suspends and resumes `globex`, and revokes keys, until it is enough.
/// Leaves the organizations as they were.
async fn disturb(folder: &Folder, keys: &KeyFile, is_enough: impl Fn() -> bool) {
    let mut round = 0;
    while !is_enough() {
        let text = if round % 2 == 0 { NOTHING } else { POLICIES };
        folder.write_policies("acme", text);
        let suspended = (round % 4 == 1).then(|| Suspension::new("a test"));
        folder.change("globex", |globex| globex.suspended = suspended);
        if let Some((org, _)) = ORGS.get(round) {
            assert!(keys.revoke(&key_of(org, &spare_key(org)).key_id).unwrap());
        }
        round += 1;
        tokio::time::sleep(ms(600)).await;
    }
    folder.write_policies("acme", POLICIES);
    folder.change("globex", |globex| globex.suspended = None);
}

/// A client of one organization that calls at random.
struct Task {
    org: &'static str,
    key: String,
    served: Arc<Served>,
    notes: SharedNotes,
    random: u64,
    calls: usize,
    name: usize,
    is_revoked: bool,
}

impl Task {
    async fn run(mut self, started: Instant) {
        // Wrong keys are counted by address, so a client with a revoked key has to stop.
        while !self.is_revoked && !self.notes.lock().unwrap().is_enough(started) {
            match self.random(12) {
                0..4 => self.evaluate().await,
                4..8 => self.verify_any().await,
                8 => self.revoke().await,
                9 => self.stop().await,
                10 => self.list().await,
                _ => self.export().await,
            }
        }
    }

    /// Returns a number below `limit` (xorshift).
    fn random(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 11).unwrap() % limit
    }

    async fn send(&mut self, method: Method, target: &str, body: &Value) -> Answer {
        self.calls += 1;
        let id = format!("{}-{}-{}", self.org, self.name, self.calls);
        let request = (self.served.bare(method, target))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header("x-request-id", format!("request-{id}"))
            .header(CONTENT_TYPE, "application/json");
        let answer = Answer::receive(request.body(body.to_string())).await;
        self.is_revoked |= answer.status == 401;
        // Suspended, or no such permit or stop. A folder may be read while its file is being written.
        let is_expected = match answer.status {
            200 | 403 | 404 => true,
            401 => self.name + 1 == TASKS,
            503 => answer.json()["code"] == "POLICIES_UNAVAILABLE",
            _ => false,
        };
        assert!(is_expected, "{id} {target}: {}", answer.text);
        *self
            .notes
            .lock()
            .unwrap()
            .statuses
            .entry(answer.status)
            .or_default() += 1;
        answer
    }

    /// Makes a request whose id all organizations use.
    async fn evaluate(&mut self) {
        let mut body = deploy();
        body["request_id"] = json!(format!("the-same-{}", self.random(200)));
        let answer = self.send(Method::POST, "/v1-evaluate", &body).await;
        if answer.status != 200 {
            return;
        }
        let json = answer.json();
        let Some(token) = json["permit_token"].as_str() else {
            return;
        };
        let permit = Granted {
            org: self.org,
            token: token.to_owned(),
        };
        self.note(|notes| {
            notes.granted.push(permit.clone());
            let permit_id = json["permit_id"].as_str().unwrap().to_owned();
            notes
                .permit_ids
                .entry(permit.org)
                .or_default()
                .insert(permit_id);
        });
        if self.random(2) == 0 {
            self.verify(permit).await;
        }
    }

    fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap())
    }

    /// Returns a permit of any organization.
    fn any_permit(&mut self) -> Option<Granted> {
        let random = self.random(usize::MAX);
        let mut notes = self.notes.lock().unwrap();
        // One of the newest, which are rarely used.
        let newest = notes.granted.len().min(12);
        let place = notes.granted.len() - random.checked_rem(newest)? - 1;
        let granted = notes.granted[place].clone();
        notes.foreign += usize::from(granted.org != self.org);
        Some(granted)
    }

    async fn verify_any(&mut self) {
        if let Some(permit) = self.any_permit() {
            self.verify(permit).await;
        }
    }

    async fn verify(&mut self, permit: Granted) {
        let body =
            json!({"permit_token": permit.token, "action_type": "deploy", "actor_id": AGENT});
        let answer = self.send(Method::POST, "/v1-verify-permit", &body).await;
        if answer.status == 200 && answer.json()["valid"] == true {
            let org = self.org;
            self.note(|notes| notes.accepted.entry(permit.token).or_default().push(org));
        }
    }

    async fn revoke(&mut self) {
        let Some(permit) = self.any_permit() else {
            return;
        };
        if self.random(8) == 0 {
            let body = json!({"all": true, "reason": format!("a reason of {}", self.org)});
            self.send(Method::POST, "/v1/permits/revoke", &body).await;
            return;
        }
        let body = json!({"permit_token": permit.token, "reason": "r"});
        self.send(Method::POST, "/v1-revoke-permit", &body).await;
    }

    async fn stop(&mut self) {
        // A stop of the agent makes all its permits invalid.
        let agent = if self.random(4) == 0 {
            AGENT
        } else {
            "another-bot"
        };
        let body = json!({"agent_id": agent, "reason": format!("a reason of {}", self.org)});
        let set = self.send(Method::POST, "/v1/stops", &body).await;
        let stops = self.send(Method::GET, "/v1/stops", &json!({})).await;
        if stops.status == 200 {
            for stop in stops.json()["stops"].as_array().unwrap() {
                assert_eq!(stop["reason"], body["reason"]);
            }
        }
        if set.status == 200 {
            let path = format!("/v1/stops/{}", set.json()["id"].as_str().unwrap());
            self.send(Method::DELETE, &path, &json!({"reason": "over"}))
                .await;
        }
    }

    async fn list(&mut self) {
        for (target, name) in [("/v1/permits", "permits"), ("/v1-audit/events", "events")] {
            let answer = self
                .send(Method::GET, &format!("{target}?limit=20"), &json!({}))
                .await;
            if answer.status == 200 {
                self.all_own(&answer.json()[name]);
            }
        }
    }

    async fn export(&mut self) {
        let body = json!({"types": ["permit.verified", "policy.loaded"]});
        let answer = self.send(Method::POST, "/v1-audit/exports", &body).await;
        if answer.status == 200 {
            assert_eq!(answer.json()["org_id"], self.org);
            self.all_own(&answer.json()["events"]);
        }
    }

    fn all_own(&self, list: &Value) {
        for one in list.as_array().unwrap() {
            assert_eq!(one["org_id"], self.org);
        }
    }
}

/// Proves from the exported chains that each organization was alone.
async fn check(served: &Served, notes: &Notes) {
    println!(
        "{:?}, {} permits, {} foreign",
        notes.statuses,
        notes.granted.len(),
        notes.foreign
    );
    assert!(notes.foreign > 20, "{}", notes.foreign);
    let issuers: HashMap<_, _> = (notes.granted.iter())
        .map(|granted| (granted.token.as_str(), granted.org))
        .collect();
    for (token, orgs) in &notes.accepted {
        assert_eq!(orgs, &[issuers[&**token]]);
    }
    let keys = served.client().build().unwrap().signing_keys().await;
    let keys = keys.unwrap().trusted().unwrap();
    let mut hashes = HashSet::new();
    for (org, key) in ORGS {
        served
            .caller(key)
            .until(|answer| answer.status == 200)
            .await;
        let events = export(served, key, &keys).await;
        let mut issued = HashSet::new();
        let (mut verified, mut of_tasks) = (0, 0);
        for event in &events {
            assert_eq!(
                (&event["org_id"], &event["payload"]["org_id"]),
                (&json!(org), &json!(org))
            );
            let request_id = event["payload"]["x_request_id"]
                .as_str()
                .unwrap_or_default();
            let is_of_task = request_id.starts_with("request-");
            assert!(
                !is_of_task || request_id.starts_with(&format!("request-{org}-")),
                "{event}"
            );
            of_tasks += usize::from(is_of_task);
            let reason = event["payload"]["reason"].as_str().unwrap_or_default();
            assert!(
                !reason.starts_with("a reason of ") || reason.ends_with(org),
                "{event}"
            );
            let hash = || event["payload"]["permit_hash"].as_str().unwrap().to_owned();
            match event["type"].as_str().unwrap() {
                "evaluate.allow" => assert!(issued.insert(hash())),
                "permit.verified" => {
                    // Used once, in the organization that issued it.
                    assert!(issued.contains(&hash()) && hashes.insert(hash()), "{event}");
                    verified += 1;
                }
                _ => {}
            }
        }
        let accepted = notes.accepted.values().filter(|orgs| orgs[0] == org);
        assert_eq!(accepted.count(), verified, "{org}");
        // Each permit that was granted is on this chain: its id begins with the hash's digits.
        for id in &notes.permit_ids[org] {
            assert!(
                issued.iter().any(|hash| hash.starts_with(&id[3..])),
                "{org} {id}"
            );
        }
        println!(
            "{org}: {of_tasks} events, {} permits, {verified} used",
            issued.len()
        );
        assert!(verified > 0 && of_tasks > 20);
    }
}

/// Exports the whole chain of a key's organization, and verifies it.
async fn export(served: &Served, key: &str, keys: &TrustedKeys) -> Vec<Value> {
    let answer = served
        .caller(key)
        .post("/v1-audit/exports", &json!({}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let report = BundleVerifier::new(keys)
        .verify_bytes(&answer.text)
        .unwrap();
    assert!(report.is_intact(), "{report:?}");
    answer.json()["events"].as_array().unwrap().clone()
}
