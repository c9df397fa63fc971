//! Policies that change under load: each answer is by the former or by the new set, and no answer
//! is missing.

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlasent_authority::LocalAuthority;
use atlasent_authority::keys::KeyFile;
use atlasent_authority::server::{ApiKeys, PolicyFolder, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_tests::faulty::{Call, FAULTS, When};
use atlasent_tests::quiet_panics;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::store::faulty;
use crate::support::{KEY, Served, deploy, impatient, ms, server, stored};

/// The longest time that a loaded machine may take.
const PATIENCE: Duration = ms(20_000);

const OPEN: &str = r#"@id("open") permit (principal, action, resource);"#;
const CLOSED: &str =
    r#"@id("closed") @reason("closed for today") forbid (principal, action, resource);"#;
const BROKEN: &str =
    "permit (principal, action, resource);\n  forbid (principal, action resource);";

/// The decisions that a client has seen.
struct Seen {
    allow: AtomicBool,
    deny: AtomicBool,
}

impl Seen {
    const fn none() -> Self {
        Self {
            allow: AtomicBool::new(false),
            deny: AtomicBool::new(false),
        }
    }
}

/// Creates a file that is complete as soon as it exists.
fn put(folder: &Path, text: &str) {
    let draft = folder.join("draft.txt");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.join("rules.cedar")).unwrap();
}

async fn until(served: &Served, kind: &str, count: u64) -> Value {
    let wait = async {
        while served.count(kind).await < count {
            tokio::time::sleep(ms(20)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("no {kind}"));
    served
        .get(&format!("/v1-audit/events?types={kind}&limit=500"))
        .await
        .json()["events"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_change_under_load_and_every_answer_is_by_one_set() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), OPEN);
    let (policies, watched) = PolicyFolder::load(folder.path()).unwrap();
    let watched = watched.settle(Duration::ZERO);
    // The clients do not use their permits.
    let authority = LocalAuthority::builder(policies).permits_per_agent(NonZeroU64::MAX);
    let authority = authority.build().await.unwrap();
    let served = Arc::new(Served::run(server(authority).watch(watched)).await);

    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::new([const { Seen::none() }; 16]);
    let mut clients = JoinSet::new();
    for n in 0..seen.len() {
        let (served, over, seen) = (Arc::clone(&served), Arc::clone(&over), Arc::clone(&seen));
        clients.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let answer = served.evaluate(&deploy()).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                let json = answer.json();
                match (json["decision"].as_str(), json["reason"].as_str()) {
                    (Some("allow"), _) => seen[n].allow.store(true, Ordering::SeqCst),
                    (Some("deny"), Some("closed for today")) => {
                        seen[n].deny.store(true, Ordering::SeqCst);
                    }
                    other => panic!("by neither set: {other:?}"),
                }
                tokio::time::sleep(ms(5)).await;
            }
        });
    }
    let all = async |saw: fn(&Seen) -> &AtomicBool| {
        while !seen.iter().all(|seen| saw(seen).load(Ordering::SeqCst)) {
            tokio::time::sleep(ms(5)).await;
        }
    };
    all(|seen| &seen.allow).await;
    let decision = async || served.evaluate(&deploy()).await.json()["decision"].clone();

    put(folder.path(), CLOSED);
    let loaded = until(&served, "policy.loaded", 2).await;
    assert_eq!(loaded["payload"]["policies"], serde_json::json!(["closed"]));
    settled(&served, "deny").await;
    all(|seen| &seen.deny).await;

    put(folder.path(), BROKEN);
    let refused = until(&served, "policy.error", 1).await;
    let problem = refused["payload"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("rules.cedar:2:"), "{problem}");
    let place = problem.split("rules.cedar:2:").nth(1).unwrap();
    assert!(
        place.starts_with(|first: char| first.is_ascii_digit()),
        "{problem}"
    );
    assert_eq!(decision().await, "deny", "the former ones stay");

    put(folder.path(), OPEN);
    until(&served, "policy.loaded", 3).await;
    settled(&served, "allow").await;
    over.store(true, Ordering::SeqCst);
    clients.join_all().await;
    // The error is reported once, although the folder was read repeatedly.
    assert_eq!(served.count("policy.error").await, 1);
    let counted = async {
        // The metric follows a moment after the new policies decide.
        while !metrics_say(&served).await {
            tokio::time::sleep(ms(5)).await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
}

async fn metrics_say(served: &Served) -> bool {
    let metrics = served.get("/metrics").await.text;
    [
        r#"atlasent_policy_reloads_total{outcome="loaded"} 2"#,
        r#"atlasent_policy_reloads_total{outcome="refused"} 1"#,
    ]
    .iter()
    .all(|line| metrics.contains(line))
}

#[tokio::test]
async fn policies_that_cannot_be_recorded_are_tried_again() {
    quiet_panics();
    join_all(FAULTS.map(async |fault| {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), OPEN);
        let (policies, watched) = PolicyFolder::load(folder.path()).unwrap();
        let watched = watched.settle(Duration::ZERO);
        let (authority, faults) = faulty().await;
        authority.replace_policies(policies).await.unwrap();
        let server = server(authority)
            .settings(impatient(ms(200)))
            .watch(watched);
        let served = Served::run(server).await;
        faults.plan(Call::Commit, fault, When::Before, 0);
        put(folder.path(), CLOSED);
        until(&served, "policy.loaded", 3).await;
        assert!(faults.have_happened(), "{fault:?}");
        settled(&served, "deny").await;
    }))
    .await;
}

/// Recorded policies decide from then on, or a moment later.
async fn settled(served: &Served, decision: &str) {
    let wait = async { while served.evaluate(&deploy()).await.json()["decision"] != decision {} };
    timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(
        served.evaluate(&deploy()).await.json()["decision"],
        decision
    );
}

/// Creates a pipe, whose readers block forever.
fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

/// A blocking policy folder delays neither the keys nor the end of the process.
#[test]
fn a_folder_that_blocks_holds_up_nothing_else() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [policy_folder, data] = folders.each_ref().map(tempfile::TempDir::path);
    put(policy_folder, OPEN);
    let (done, ended) = std::sync::mpsc::channel();
    let (policy_folder, data) = (policy_folder.to_owned(), data.to_owned());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (policies, watched) = PolicyFolder::load(&policy_folder).unwrap();
            let watched = watched.settle(Duration::ZERO);
            let file = KeyFile::new(data.join("keys.json"));
            let book = ApiKeys::default().with_file(file.clone()).await.unwrap();
            let authority = LocalAuthority::in_memory(policies).unwrap();
            let server = Server::new(authority, book, KeyRing::in_memory().unwrap());
            let served = Served::run(server.watch(watched)).await;
            pipe(&policy_folder.join("pipe.cedar"));
            tokio::time::sleep(ms(2_500)).await;
            file.add(stored(KEY)).unwrap();
            let until_status = async |status| {
                while served.evaluate(&deploy()).await.status != status {
                    tokio::time::sleep(ms(100)).await;
                }
            };
            timeout(PATIENCE, until_status(200)).await.unwrap();
            file.revoke(&stored(KEY).key_id).unwrap();
            timeout(PATIENCE, until_status(401)).await.unwrap();
            // A key file that is a pipe blocks nothing and authenticates no caller.
            fs::remove_file(file.path()).unwrap();
            pipe(file.path());
            tokio::time::sleep(ms(1_200)).await;
            assert_eq!(served.evaluate(&deploy()).await.status, 401);
            timeout(PATIENCE, served.stop())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        });
        drop(runtime);
        done.send(()).unwrap();
    });
    ended.recv_timeout(3 * PATIENCE).unwrap();
}
