//! Isolation under load, while policies are replaced, and organizations are suspended, resumed and
//! dropped from memory.

mod task;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atlasent::audit::{BundleVerifier, TrustedKeys};
use atlasent_authority::keys::KeyFile;
use atlasent_authority::organizations::{Organization, Suspension};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{Organizations, RateCounter, Store};
use atlasent_authority::{LocalAuthority, MemoryStore, PostgresStore, RedbStore};
use atlasent_tests::postgres::PrivatePostgres;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::task::Task;
use super::{ORGS, same_keys};
use crate::organizations::support::{Folder, id, key_of};
use crate::support::{POLICIES, Served, memory, ms, policies};

/// How long the load lasts: longer on a busy machine, until each organization has used some
/// permits.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_that_are_loaded_at_the_same_time_stay_apart() {
    let folder = Folder::new();
    let ids: Vec<_> = (0..12).map(|number| format!("org-{number}")).collect();
    for org in &ids {
        let organization = Organization::new(id(org));
        folder.registry().create(organization).unwrap();
        folder.write_policies(org, POLICIES);
    }
    let keys = ids.iter().map(|org| key_of(org, &spare_key(org)));
    let ring = KeyRing::in_memory().unwrap();
    let server = Server::new(memory(), ApiKeys::new(keys), ring);
    let served = Served::run(server.organizations(folder.hosting().await)).await;
    let first = ids.iter().map(|org| {
        let (key, served) = (spare_key(org), &served);
        async move {
            let answer = served.caller(&key).get("/v1-audit/events").await.json();
            answer["events"][0]["org_id"].as_str().unwrap().to_owned()
        }
    });
    assert_eq!(join_all(first).await, ids);
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
        let has_used = ORGS.iter().all(|(org, _)| self.used(org) >= ENOUGH);
        let lasted = started.elapsed();
        lasted >= LONGEST || (lasted >= LOAD && has_used && self.foreign > 20)
    }

    /// Counts the permits that an organization has used.
    fn used(&self, org: &str) -> usize {
        let accepted = self.accepted.values();
        accepted.filter(|orgs| orgs.first() == Some(&org)).count()
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

/// Replaces the policies of `acme`, suspends and resumes `globex`, and revokes keys, until it is
/// enough. Leaves the organizations as they were.
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

/// Proves from the exported chains that each organization was alone.
async fn check(served: &Served, notes: &Notes) {
    let used = ORGS.map(|(org, _)| notes.used(org));
    assert!(
        notes.foreign > 20 && used.iter().all(|&used| used >= ENOUGH),
        "{}, {used:?}, {:?}",
        notes.foreign,
        notes.statuses
    );
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
        assert_eq!(notes.used(org), verified, "{org}");
        // Each permit that was granted is on this chain: its id begins with the hash's digits.
        for id in &notes.permit_ids[org] {
            assert!(
                issued.iter().any(|hash| hash.starts_with(&id[3..])),
                "{org} {id}"
            );
        }
        assert!(of_tasks > 20);
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
