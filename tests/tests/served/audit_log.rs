//! The audit trail as a log: the file contains each event of the chain, and a failing file stops no
//! decision.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::server::{AuditLog, Retention};
use atlasent_authority::store::Store;
use atlasent_authority::{LocalAuthority, RedbStore};
use atlasent_tests::faulty::{Call, Fault, When};
use atlasent_tests::{capture, quiet_panics};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::store::faulty;
use crate::support::{
    Served, deploy, memory, ms, on_disk, open_store, policies, server, wait_until,
};

const DAY: i64 = 24 * 3600;

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sequences(lines: &[Value]) -> Vec<u64> {
    let numbers = lines.iter().map(|line| line["sequence"].as_u64().unwrap());
    numbers.collect()
}

/// Records a number of decisions.
pub(crate) async fn decide<S: Store>(authority: &LocalAuthority<S>, count: usize) {
    let request = EvaluateRequest::new(
        Agent::new("bot").unwrap(),
        &AnyAction::new("deploy").unwrap(),
    );
    let request = request.unwrap();
    for _ in 0..count {
        authority.evaluate(&request).await.unwrap();
    }
}

/// Sends `SIGHUP` to this process, so that it reloads its files.
fn hang_up() {
    let kill = format!("kill -HUP {}", std::process::id());
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.unwrap().success());
}

pub(crate) async fn metric(served: &Served, name: &str) -> u64 {
    let text = served.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    for _ in 0..3 {
        let log = AuditLog::open(&path).unwrap();
        let served = Served::run(server(on_disk(folder.path()).await).audit_log(log)).await;
        for _ in 0..7 {
            assert_eq!(served.evaluate(&deploy()).await.status, 200);
        }
        let listed = served.events().await;
        served.stop().await.unwrap().unwrap();
        assert_eq!(lines(&path), listed);
    }
}

#[tokio::test]
async fn a_page_is_not_the_end_of_a_long_trail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let authority = memory();
    decide(&authority, 1_201).await;
    let log = AuditLog::open(&path).unwrap();
    let served = Served::run(server(authority).audit_log(log)).await;
    served.evaluate(&deploy()).await;
    served.stop().await.unwrap().unwrap();
    let written = sequences(&lines(&path));
    assert!(written.len() > 1_201);
    assert!(written.into_iter().eq(1..=lines(&path).len() as u64));
}

#[tokio::test]
async fn the_trail_of_another_store_is_written_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut listed = Vec::new();
    for decisions in [5, 2, 9] {
        let log = AuditLog::open(&path).unwrap();
        let served = Served::run(server(memory()).audit_log(log)).await;
        for _ in 0..decisions {
            served.evaluate(&deploy()).await;
        }
        listed.extend(served.events().await);
        served.stop().await.unwrap().unwrap();
    }
    assert_eq!(lines(&path), listed);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_rotated_and_a_link_in_its_place_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let rotated = folder.path().join("audit.jsonl.1");
    let victim = folder.path().join("victim");
    fs::write(&victim, "").unwrap();
    let log = AuditLog::open(&path).unwrap();
    let served = Served::run(server(memory()).audit_log(log)).await;
    served.evaluate(&deploy()).await;
    let listed = served.events().await;
    wait_until("it is written", || lines(&path) == listed).await;
    let last = listed.len() as u64;
    assert_eq!(metric(&served, "atlasent_audit_log_sequence").await, last);
    assert_eq!(
        metric(&served, "atlasent_audit_log_failures_total").await,
        0
    );

    fs::rename(&path, &rotated).unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    hang_up();
    for n in 0.. {
        assert!(n < 1_000, "the link is not noticed");
        if metric(&served, "atlasent_audit_log_failures_total").await > 0 {
            break;
        }
        tokio::time::sleep(ms(20)).await;
    }
    assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
    assert_eq!(metric(&served, "atlasent_audit_log_sequence").await, last);
    tokio::time::sleep(ms(600)).await;
    assert_eq!(fs::read(&victim).unwrap(), b"");

    fs::remove_file(&path).unwrap();
    let listed = served.events().await;
    wait_until("it goes on", || {
        [lines(&rotated), lines(&path)].concat() == listed
    })
    .await;
    served.stop().await.unwrap().unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_a_pipe_and_a_file_with_a_second_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    let second = folder.path().join("second");
    fs::hard_link(&victim, &second).unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [link, second, pipe, folder.path().to_owned()] {
        let error = AuditLog::open(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_fails_or_panics_is_read_again() {
    quiet_panics();
    for fault in [Fault::Fails, Fault::Panics] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (authority, faults) = faulty().await;
        let log = AuditLog::open(&path).unwrap();
        let served = Served::run(server(authority).audit_log(log)).await;
        faults.plan(Call::Events, fault, When::Before, 0);
        assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
        wait_until("the log reads", || faults.have_happened()).await;
        assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
        let listed = served.events().await;
        wait_until("it is written", || lines(&path) == listed).await;
        assert_eq!(
            metric(&served, "atlasent_audit_log_failures_total").await,
            1
        );
        served.stop().await.unwrap().unwrap();
    }
}

#[test]
fn events_that_left_the_store_before_are_named_in_the_log() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_, seen) = capture(|| runtime.block_on(leave_early()));
    let lines = seen
        .iter()
        .filter(|seen| seen.name.contains("left the store"));
    let named: Vec<_> = lines
        .map(|line| (line.fields["first"].as_str(), line.fields["last"].as_str()))
        .collect();
    assert_eq!(named, [("1", "5")]);
}

async fn leave_early() {
    let folder = tempfile::tempdir().unwrap();
    // Five events of three days ago.
    let ago = Arc::new(AtomicI64::new(3 * DAY));
    let clock = Arc::clone(&ago);
    let authority = LocalAuthority::builder(policies())
        .store(RedbStore::open(folder.path().join("store.redb")).unwrap())
        .clock(move || Timestamp::now() - SignedDuration::from_secs(clock.load(Ordering::SeqCst)))
        .build()
        .await
        .unwrap();
    decide(&authority, 4).await;
    ago.store(0, Ordering::SeqCst);
    let archive = folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let retention = Retention {
        keep: Duration::from_secs(2 * 24 * 3600),
        folder: archive,
    };
    let served = Served::run(server(authority).retain(retention)).await;
    for n in 0.. {
        assert!(n < 300, "nothing is archived");
        if served.count("audit.archived").await == 1 {
            break;
        }
        tokio::time::sleep(ms(20)).await;
    }
    served.stop().await.unwrap().unwrap();

    let path = folder.path().join("audit.jsonl");
    let store = open_store(folder.path().join("store.redb")).await;
    let authority = LocalAuthority::builder(policies()).store(store).build();
    let log = AuditLog::open(&path).unwrap();
    let served = Served::run(server(authority.await.unwrap()).audit_log(log)).await;
    let listed = served.events().await;
    served.stop().await.unwrap().unwrap();
    assert_eq!(lines(&path), listed);
    assert_eq!(sequences(&listed)[0], 6);
}
