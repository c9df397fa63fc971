//! Killed with SIGKILL at any moment under load, the server starts again with everything that it has answered.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlasent::audit::{ChainVerifier, Event};
use serde_json::json;

use super::http::Connection;
use super::process::{KEY, Server};

/// How many times it is killed, unless the environment says otherwise.
const ROUNDS: u32 = 200;

/// How many ask at a time.
const CLIENTS: usize = 4;

/// What the clients were told, over all rounds.
#[derive(Default)]
struct Told {
    /// The hashes of events that were acknowledged.
    hashes: HashSet<String>,
    /// Tokens of permits that nobody has presented yet.
    fresh: Vec<String>,
    /// Tokens that were presented, and no answer came.
    lost: Vec<String>,
    /// Tokens that were verified.
    used: Vec<String>,
}

#[test]
fn what_was_answered_survives_a_kill_and_no_permit_is_good_twice() {
    let rounds = std::env::var("ATLASENT_TORTURE_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let told = Mutex::new(Told::default());
    let mut trail = Trail::default();
    let mut random = fastrand::Rng::new();
    for round in 0..rounds {
        let server = Server::start(data.path(), &["--log-level", "error"]);
        let told_before = std::mem::take(&mut told.lock().unwrap().hashes);
        trail.read_on(&mut server.connect());
        for hash in told_before {
            assert!(
                trail.hashes.contains(&hash),
                "round {round}: an acknowledged event is gone"
            );
        }
        present_again(&mut server.connect(), &told);
        load_until_killed(
            server,
            &told,
            Duration::from_micros(random.u64(500..60_000)),
        );
    }
    let server = Server::start(data.path(), &[]);
    trail.read_on(&mut server.connect());
    let told = told.into_inner().unwrap();
    assert!(told.hashes.iter().all(|hash| trail.hashes.contains(hash)));
    assert!(
        trail.verified.values().all(|times| *times == 1),
        "a permit was good twice"
    );
    let report = trail.verifier.finish(trail.head.as_deref(), None);
    assert!(report.is_intact(), "{report:?}");
    assert!(!told.used.is_empty() && report.events > u64::from(rounds));
    println!(
        "{rounds} kills, {} events, {} permits acknowledged as used, {} used",
        report.events,
        told.used.len(),
        trail.verified.len()
    );
}

/// The whole chain, read piece by piece as it grows.
#[derive(Default)]
struct Trail {
    verifier: ChainVerifier,
    hashes: HashSet<String>,
    /// How often each permit was found good.
    verified: HashMap<String, u32>,
    head: Option<String>,
    last: u64,
}

impl Trail {
    fn read_on(&mut self, server: &mut Connection) {
        loop {
            let path = format!("/v1-audit/events?limit=500&cursor=after_{}", self.last);
            let page = server.get(&path).unwrap();
            let events: Vec<Event> = serde_json::from_value(page.body["events"].clone()).unwrap();
            for event in &events {
                self.verifier.push(event);
                self.hashes.insert(event.hash.clone());
                self.head = Some(event.hash.clone());
                self.last = event.envelope.sequence;
                if event.envelope.kind == "permit.verified" {
                    let permit = event.payload.text("permit_hash").unwrap().into_owned();
                    *self.verified.entry(permit).or_default() += 1;
                }
            }
            if page.body["next_cursor"].is_null() {
                return;
            }
        }
    }
}

/// A used permit stays used. One whose answer was lost is either used or not, and then it is good for once.
fn present_again(server: &mut Connection, told: &Mutex<Told>) {
    let mut told = told.lock().unwrap();
    let newest = told.used.len().saturating_sub(5);
    for token in &told.used[newest..] {
        let answer = verify(server, token).unwrap();
        assert_eq!(answer["valid"], false, "a used permit is good again");
        assert_eq!(answer["outcome"], "permit_consumed");
    }
    for token in std::mem::take(&mut told.lost) {
        verify(server, &token).unwrap();
        assert_eq!(verify(server, &token).unwrap()["valid"], false);
    }
}

fn load_until_killed(server: Server, told: &Mutex<Told>, time: Duration) {
    let address = server.address;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                // Ends with the first thing that breaks: the server was killed.
                let done = Connection::open(address, KEY)
                    .and_then(|mut server| ask(&mut server, told, &over));
                assert!(over.load(Ordering::SeqCst), "it broke by itself: {done:?}");
            });
        }
        std::thread::sleep(time);
        over.store(true, Ordering::SeqCst);
        server.kill();
    });
}

fn ask(server: &mut Connection, told: &Mutex<Told>, over: &AtomicBool) -> std::io::Result<()> {
    let request = json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    });
    while !over.load(Ordering::SeqCst) {
        let answer = server.post("/v1-evaluate", &request)?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.body["permit_token"].as_str().unwrap().to_owned();
        let presented = {
            let mut told = told.lock().unwrap();
            told.hashes
                .insert(answer.body["audit_hash"].as_str().unwrap().to_owned());
            told.fresh.push(token);
            // Some wait over a restart.
            let at = fastrand::usize(..told.fresh.len());
            told.fresh.swap_remove(at)
        };
        match verify(server, &presented) {
            Ok(answer) => {
                assert_eq!(answer["valid"], true, "{answer}");
                told.lock().unwrap().used.push(presented);
            }
            Err(error) => {
                told.lock().unwrap().lost.push(presented);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn verify(server: &mut Connection, token: &str) -> std::io::Result<serde_json::Value> {
    let question = json!({ "permit_token": token, "action_type": "deploy.production", "actor_id": "deploy-bot" });
    Ok(server.post("/v1-verify-permit", &question)?.body)
}
