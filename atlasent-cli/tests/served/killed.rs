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

/// How many permits wait, so that some do while the server is killed.
const WAITING: usize = 3;

/// What the clients were told, over all rounds.
#[derive(Default)]
struct Told {
    /// The hashes of events that were acknowledged.
    hashes: HashSet<String>,
    /// Tokens that were not presented yet, each with the policies that granted it.
    fresh: Vec<(String, u32)>,
    /// Tokens that were presented, and no answer came.
    lost: Vec<String>,
    /// Tokens that were verified.
    used: Vec<String>,
    /// Stops whose setting was acknowledged, and whose lifting was not asked for.
    stops: HashSet<String>,
    /// How many permits were refused since their policies had changed.
    changed: u32,
}

/// The policies of a round. Every other round has others for the action that is asked for, and
/// every round others for another action.
fn policies(round: u32) -> String {
    let version = version(round);
    format!(
        r#"@reason("version {version}")
        permit (principal, action == Action::"deploy.production", resource);
        @reason("round {round}")
        permit (principal, action == Action::"read", resource);"#
    )
}

/// Which policies for the action that is asked for a round has.
fn version(round: u32) -> u32 {
    round / 2
}

#[test]
fn what_was_answered_survives_a_kill_and_no_permit_is_good_twice() {
    let rounds = std::env::var("ATLASENT_TORTURE_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--log-level",
        "error",
        "--policies",
        folder.path().to_str().unwrap(),
    ];
    let told = Mutex::new(Told::default());
    let mut trail = Trail::default();
    let mut random = fastrand::Rng::new();
    for round in 0..rounds {
        std::fs::write(folder.path().join("policies.cedar"), policies(round)).unwrap();
        let server = Server::start(data.path(), &arguments);
        let told_before = std::mem::take(&mut told.lock().unwrap().hashes);
        trail.read_on(&mut server.connect());
        for hash in told_before {
            assert!(
                trail.hashes.contains(&hash),
                "round {round}: an acknowledged event is gone"
            );
        }
        present_again(&mut server.connect(), &told);
        outdated_are_refused(&mut server.connect(), &told, round);
        stops_still_hold(&mut server.connect(), &told);
        let time = Duration::from_micros(random.u64(500..60_000));
        load_until_killed(server, &told, round, time);
    }
    let server = Server::start(data.path(), &arguments);
    stops_still_hold(&mut server.connect(), &told);
    trail.read_on(&mut server.connect());
    let told = told.into_inner().unwrap();
    assert!(told.hashes.iter().all(|hash| trail.hashes.contains(hash)));
    assert!(
        trail.verified.values().all(|times| *times == 1),
        "a permit was good twice"
    );
    let report = trail.verifier.finish(trail.head.as_deref(), None);
    assert!(report.is_intact(), "{report:?}");
    assert!(told.changed > 0 && !told.stops.is_empty());
    assert!(!told.used.is_empty() && report.events > u64::from(rounds));
    println!(
        "{rounds} kills, {} events, {} permits acknowledged as used, {} used, {} refused since \
         their policies had changed, {} stops",
        report.events,
        told.used.len(),
        trail.verified.len(),
        told.changed,
        told.stops.len()
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

/// A permit that waited over a change of its policies is refused. The others go on waiting.
fn outdated_are_refused(server: &mut Connection, told: &Mutex<Told>, round: u32) {
    let mut told = told.lock().unwrap();
    for (token, granted_by) in std::mem::take(&mut told.fresh) {
        if granted_by == version(round) {
            told.fresh.push((token, granted_by));
            continue;
        }
        let answer = verify(server, &token).unwrap();
        assert_eq!(answer["verify_error_code"], "POLICY_CHANGED", "{answer}");
        told.changed += 1;
    }
}

/// A stop that was acknowledged holds after the kill, permits and questions alike.
fn stops_still_hold(server: &mut Connection, told: &Mutex<Told>) {
    let listed = server.get("/v1/stops").unwrap().body;
    let listed: HashSet<&str> = listed["stops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stop| stop["id"].as_str().unwrap())
        .collect();
    let told = told.lock().unwrap();
    for stop in &told.stops {
        assert!(listed.contains(&**stop), "an acknowledged stop is gone");
    }
    if !told.stops.is_empty() {
        let answer = server
            .post("/v1-evaluate", &question("stopped-bot"))
            .unwrap();
        assert_eq!(answer.body["deny_code"], "STOPPED", "{}", answer.body);
    }
}

fn load_until_killed(server: Server, told: &Mutex<Told>, round: u32, time: Duration) {
    let address = server.address;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let over = &over;
            scope.spawn(move || {
                // Ends with the first thing that breaks: the server was killed.
                let done = Connection::open(address, KEY).and_then(|mut server| match number {
                    0 => stop_and_ask(&mut server, told, over),
                    _ => ask(&mut server, told, round, over),
                });
                assert!(over.load(Ordering::SeqCst), "it broke by itself: {done:?}");
            });
        }
        std::thread::sleep(time);
        over.store(true, Ordering::SeqCst);
        server.kill();
    });
}

fn question(agent: &str) -> serde_json::Value {
    json!({
        "action_type": "deploy.production", "actor_id": agent,
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    })
}

/// Sets stops for an agent, lifts all but the last ones, and asks as that agent.
fn stop_and_ask(
    server: &mut Connection,
    told: &Mutex<Told>,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let body = json!({ "agent_id": "stopped-bot", "reason": "a drill" });
    while !over.load(Ordering::SeqCst) {
        let stop = server.post("/v1/stops", &body)?.body;
        let id = stop["id"].as_str().unwrap().to_owned();
        told.lock().unwrap().stops.insert(id);
        let answer = server.post("/v1-evaluate", &question("stopped-bot"))?;
        assert_eq!(answer.body["deny_code"], "STOPPED", "{}", answer.body);
        let old: Vec<_> = {
            let mut told = told.lock().unwrap();
            let many = told.stops.len().saturating_sub(3);
            let old: Vec<_> = told.stops.iter().take(many).cloned().collect();
            // From now on it may be lifted or not.
            for id in &old {
                told.stops.remove(id);
            }
            old
        };
        for id in old {
            server.delete(&format!("/v1/stops/{id}"), &json!({ "reason": "over" }))?;
        }
    }
    Ok(())
}

fn ask(
    server: &mut Connection,
    told: &Mutex<Told>,
    round: u32,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let request = question("deploy-bot");
    while !over.load(Ordering::SeqCst) {
        let answer = server.post("/v1-evaluate", &request)?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.body["permit_token"].as_str().unwrap().to_owned();
        let (presented, _) = {
            let mut told = told.lock().unwrap();
            told.hashes
                .insert(answer.body["audit_hash"].as_str().unwrap().to_owned());
            told.fresh.push((token, version(round)));
            // Some wait over a restart.
            if told.fresh.len() <= WAITING {
                continue;
            }
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
