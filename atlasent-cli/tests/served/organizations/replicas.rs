//! Two servers that share a database are one authority for each of several organizations.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use atlasent_authority::PostgresStore;
use atlasent_authority::organizations::{Organization, Suspension};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::support::*;
use crate::http::{Answer, Connection};
use crate::process::Server;
use crate::replicas;
use crate::trail::Trail;

/// Two servers on one database, each with a data directory of its own.
struct Pair {
    servers: [Server; 2],
    folders: [TempDir; 2],
    url: String,
    runtime: Runtime,
    database: PostgresStore,
}

impl Pair {
    /// Starts the servers. Returns `None` without PostgreSQL.
    fn start() -> Option<Self> {
        let url = replicas::database()?;
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let servers = folders
            .each_ref()
            .map(|data| replicas::start(data.path(), &url));
        let runtime = Runtime::new().unwrap();
        let database = runtime.block_on(PostgresStore::connect(&url)).unwrap();
        Some(Self {
            servers,
            folders,
            url,
            runtime,
            database,
        })
    }

    /// Creates an organization in the database, with policies in both data directories. Returns an
    /// API key of it.
    fn create(&self, org: &str) -> String {
        for data in &self.folders {
            write_policies(&policies(data.path(), org), ALLOW);
        }
        let record = Organization::new(id(org));
        let created = self.database.create_organization_record(&record);
        assert!(self.runtime.block_on(created).unwrap());
        self.create_key(org)
    }

    fn create_key(&self, org: &str) -> String {
        let (key, secret) = new_key(org);
        let created = self.database.put_api_key(&key);
        self.runtime.block_on(created).unwrap();
        secret
    }

    fn change(&self, org: &str, edit: impl Fn(&mut Organization) + Send + 'static) {
        let org = id(org);
        let changed = self.database.change_organization(&org, edit);
        assert!(self.runtime.block_on(changed).unwrap().is_some());
    }

    /// Waits until both servers give an answer on which the condition holds.
    #[track_caller]
    fn until(&self, key: &str, holds: impl Fn(&Answer) -> bool) {
        for server in &self.servers {
            until(server, key, &holds);
        }
    }
}

#[test]
fn a_change_of_an_organization_in_the_database_takes_effect_at_both_servers() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let (acme, globex) = (pair.create("acme"), pair.create("globex"));
    let is_allowed = |answer: &Answer| answer.body["decision"] == "allow";
    for key in [&acme, &globex] {
        pair.until(key, is_allowed);
    }
    let token = token(&pair.servers[0], &acme);

    pair.change("acme", |acme| acme.suspended = Some(Suspension::new("r")));
    pair.until(&acme, |answer| {
        answer.body["code"] == "ORGANIZATION_SUSPENDED"
    });
    for server in &pair.servers {
        assert_problem(
            &verify(server, &acme, &token),
            403,
            "ORGANIZATION_SUSPENDED",
        );
        assert!(is_allowed(&evaluate(server, &globex)));
    }
    pair.change("acme", |acme| acme.suspended = None);
    pair.until(&acme, is_allowed);
    assert_eq!(verify(&pair.servers[1], &acme, &token).body["valid"], true);

    // Its unused permits of both servers count.
    pair.change("acme", |acme| acme.limits.max_permits = NonZeroU64::new(1));
    let at_limit = |answer: &Answer| answer.body["deny_code"] == "ORGANIZATION_PERMIT_LIMIT";
    pair.until(&acme, at_limit);
    pair.change("acme", |acme| {
        acme.limits.max_permits = None;
        acme.limits.rate_limit_per_minute = NonZeroU64::new(5);
    });
    let other_key = pair.create_key("acme");
    pair.until(&acme, |answer| answer.status == 429);
    // The limit is of all keys and of both servers together.
    pair.until(&other_key, |answer| answer.status == 429);
    for server in &pair.servers {
        assert!(is_allowed(&evaluate(server, &globex)));
    }
}

#[test]
fn a_permit_of_one_server_is_good_once_at_the_other_and_in_its_organization_alone() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let orgs = ["local", "acme", "globex"];
    let keys = orgs.map(|org| match org {
        "local" => pair.create_key(org),
        _ => pair.create(org),
    });
    let [one, other] = &pair.servers;
    for key in &keys {
        pair.until(key, |answer| answer.status == 200);
    }
    for (at, key) in keys.iter().enumerate() {
        let token = token(one, key);
        for foreign in keys.iter().enumerate().filter(|(n, _)| *n != at) {
            for server in &pair.servers {
                let answer = verify(server, foreign.1, &token);
                assert_eq!((answer.status, &answer.body["valid"]), (200, &false.into()));
            }
        }
        assert_eq!(verify(other, key, &token).body["valid"], true);
        assert_eq!(verify(one, key, &token).body["outcome"], "permit_consumed");
    }
    let mut all = HashSet::new();
    for (org, key) in orgs.iter().zip(&keys) {
        let read = || [one, other].map(|server| Trail::read(org, &mut connect(server, key)));
        let [mut one, mut other] = read();
        // The servers may still record the keys that they have found.
        for _ in 0..20 {
            if one.hashes == other.hashes {
                break;
            }
            thread::sleep(Duration::from_millis(200));
            [one, other] = read();
        }
        assert_eq!(one.hashes, other.hashes);
        for hash in &one.hashes {
            assert!(all.insert(hash.clone()), "an event is on two chains");
        }
        one.finish();
    }
}

/// What the clients of an organization were answered.
#[derive(Default)]
struct Answered {
    hashes: Mutex<HashSet<String>>,
    used: AtomicUsize,
}

#[test]
fn a_server_that_is_killed_amid_transactions_of_organizations_harms_none() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let orgs = ["local", "acme", "globex"];
    let keys = orgs.map(|org| match org {
        "local" => pair.create_key(org),
        _ => pair.create(org),
    });
    for key in &keys {
        pair.until(key, |answer| answer.status == 200);
    }
    let answered = orgs.map(|_| Answered::default());
    for round in 0..4 {
        let [first, second] = &pair.servers;
        let (killed, over) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            for (key, answered) in keys.iter().zip(&answered) {
                for (server, end) in [(first, &killed), (second, &over)] {
                    let mut connection = connect(server, key);
                    scope.spawn(move || {
                        let done = use_permits(&mut connection, answered, end);
                        assert!(end.load(Ordering::SeqCst), "before its end: {done:?}");
                    });
                }
            }
            thread::sleep(Duration::from_millis(100 + 37 * round));
            killed.store(true, Ordering::SeqCst);
            first.signal("KILL");
            thread::sleep(Duration::from_millis(300));
            over.store(true, Ordering::SeqCst);
        });
        pair.servers[0] = replicas::start(pair.folders[0].path(), &pair.url);
        for ((org, key), answered) in orgs.iter().zip(&keys).zip(&answered) {
            until(&pair.servers[0], key, |answer| answer.status == 200);
            let trail = Trail::read(org, &mut connect(&pair.servers[0], key));
            let hashes = answered.hashes.lock().unwrap();
            assert!(
                hashes.is_subset(&trail.hashes),
                "`{org}` lacks what was answered"
            );
            assert!(trail.verified.len() >= answered.used.load(Ordering::SeqCst));
            trail.finish();
        }
    }
    for answered in &answered {
        assert!(answered.used.load(Ordering::SeqCst) > 10);
    }
}

/// Evaluates, and uses each permit, until the end.
fn use_permits(
    server: &mut Connection,
    answered: &Answered,
    end: &AtomicBool,
) -> std::io::Result<()> {
    while !end.load(Ordering::SeqCst) {
        let answer = server.post("/v1-evaluate", &deploy())?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let hash = answer.body["audit_hash"].as_str().unwrap().to_owned();
        answered.hashes.lock().unwrap().insert(hash);
        let question = serde_json::json!({ "permit_token": answer.body["permit_token"] });
        let answer = server.post("/v1-verify-permit", &question)?;
        assert_eq!(answer.body["valid"], true, "{}", answer.body);
        answered.used.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}
