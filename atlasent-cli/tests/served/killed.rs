//! A server that is killed with SIGKILL under load starts again with everything that it
//! acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlasent::audit::{ChainVerifier, Event};
use serde_json::json;

use super::http::Connection;
use super::process::{KEY, Server};

/// The number of kills, unless `ATLASENT_TORTURE_ROUNDS` sets another one.
const ROUNDS: u32 = 200;

/// The number of concurrent clients.
const CLIENTS: usize = 4;

/// The number of permits that stay unused, so that some are unused during a kill.
const WAITING: usize = 3;

/// The answers that the clients got, over all rounds.
#[derive(Default)]
struct Acknowledged {
    /// The hashes of events that were acknowledged.
    hashes: HashSet<String>,
    /// Unused tokens, each with the version of the policies that granted it.
    fresh: Vec<(String, u32)>,
    /// Tokens whose verification got no answer.
    lost: Vec<String>,
    /// Tokens that were verified.
    used: Vec<String>,
    /// Stops that were acknowledged and not lifted.
    stops: HashSet<String>,
    /// The number of permits that were refused because their policies had changed.
    changed: u32,
}

/// Returns the policies of a round. The policy of the requested action changes every other round,
/// that of another action every round.
fn policies(round: u32) -> String {
    let version = version(round);
    format!(
        r#"@reason("version {version}")
        permit (principal, action == Action::"deploy.production", resource);
        @reason("round {round}")
        permit (principal, action == Action::"read", resource);"#
    )
}

/// Returns the version of the policy of the requested action in a round.
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
    let acknowledged = Mutex::new(Acknowledged::default());
    let mut trail = Trail::default();
    let mut random = fastrand::Rng::new();
    for round in 0..rounds {
        std::fs::write(folder.path().join("policies.cedar"), policies(round)).unwrap();
        let server = Server::start(data.path(), &arguments);
        let hashes = std::mem::take(&mut acknowledged.lock().unwrap().hashes);
        trail.read_on(&mut server.connect());
        for hash in hashes {
            assert!(
                trail.hashes.contains(&hash),
                "round {round}: an acknowledged event is gone"
            );
        }
        present_again(&mut server.connect(), &acknowledged);
        outdated_are_refused(&mut server.connect(), &acknowledged, round);
        stops_still_hold(&mut server.connect(), &acknowledged);
        let time = Duration::from_micros(random.u64(500..60_000));
        load_until_killed(server, &acknowledged, round, time);
    }
    let server = Server::start(data.path(), &arguments);
    stops_still_hold(&mut server.connect(), &acknowledged);
    trail.read_on(&mut server.connect());
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(
        acknowledged
            .hashes
            .iter()
            .all(|hash| trail.hashes.contains(hash))
    );
    assert!(
        trail.verified.values().all(|times| *times == 1),
        "a permit was verified twice"
    );
    let report = trail.verifier.finish(trail.head.as_deref(), None);
    assert!(report.is_intact(), "{report:?}");
    assert!(acknowledged.changed > 0 && !acknowledged.stops.is_empty());
    assert!(!acknowledged.used.is_empty() && report.events > u64::from(rounds));
    println!(
        "{rounds} kills, {} events, {} permits acknowledged as used, {} used, {} refused since \
         their policies had changed, {} stops",
        report.events,
        acknowledged.used.len(),
        trail.verified.len(),
        acknowledged.changed,
        acknowledged.stops.len()
    );
}

/// The whole chain, read in parts as it grows.
#[derive(Default)]
struct Trail {
    verifier: ChainVerifier,
    hashes: HashSet<String>,
    /// The number of successful verifications of each permit.
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

/// Verifies used permits again, which must fail. A permit whose answer was lost is either used, or
/// can be used once.
fn present_again(server: &mut Connection, acknowledged: &Mutex<Acknowledged>) {
    let mut acknowledged = acknowledged.lock().unwrap();
    let newest = acknowledged.used.len().saturating_sub(5);
    for token in &acknowledged.used[newest..] {
        let answer = verify(server, token).unwrap();
        assert_eq!(answer["valid"], false, "a used permit was verified again");
        assert_eq!(answer["outcome"], "permit_consumed");
    }
    for token in std::mem::take(&mut acknowledged.lost) {
        verify(server, &token).unwrap();
        assert_eq!(verify(server, &token).unwrap()["valid"], false);
    }
}

/// Verifies the unused permits of older policies, which must be refused. The others stay unused.
fn outdated_are_refused(server: &mut Connection, acknowledged: &Mutex<Acknowledged>, round: u32) {
    let mut acknowledged = acknowledged.lock().unwrap();
    for (token, granted_by) in std::mem::take(&mut acknowledged.fresh) {
        if granted_by == version(round) {
            acknowledged.fresh.push((token, granted_by));
            continue;
        }
        let answer = verify(server, &token).unwrap();
        assert_eq!(answer["verify_error_code"], "POLICY_CHANGED", "{answer}");
        acknowledged.changed += 1;
    }
}

/// Asserts that each acknowledged stop is in effect after the kill, for permits and for requests.
fn stops_still_hold(server: &mut Connection, acknowledged: &Mutex<Acknowledged>) {
    let listed = server.get("/v1/stops").unwrap().body;
    let listed: HashSet<&str> = listed["stops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stop| stop["id"].as_str().unwrap())
        .collect();
    let acknowledged = acknowledged.lock().unwrap();
    for stop in &acknowledged.stops {
        assert!(listed.contains(&**stop), "an acknowledged stop is gone");
    }
    if !acknowledged.stops.is_empty() {
        let answer = server
            .post("/v1-evaluate", &question("stopped-bot"))
            .unwrap();
        assert_eq!(answer.body["deny_code"], "STOPPED", "{}", answer.body);
    }
}

fn load_until_killed(
    server: Server,
    acknowledged: &Mutex<Acknowledged>,
    round: u32,
    time: Duration,
) {
    let address = server.address;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let over = &over;
            scope.spawn(move || {
                // The client ends at the first error, which is the kill of the server.
                let done = Connection::open(address, KEY).and_then(|mut server| match number {
                    0 => stop_and_ask(&mut server, acknowledged, over),
                    _ => ask(&mut server, acknowledged, round, over),
                });
                assert!(
                    over.load(Ordering::SeqCst),
                    "an error before the kill: {done:?}"
                );
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

/// Sets stops for an agent, makes requests as that agent, and lifts all stops but the last 3.
fn stop_and_ask(
    server: &mut Connection,
    acknowledged: &Mutex<Acknowledged>,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let body = json!({ "agent_id": "stopped-bot", "reason": "a drill" });
    while !over.load(Ordering::SeqCst) {
        let stop = server.post("/v1/stops", &body)?.body;
        let id = stop["id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().stops.insert(id);
        let answer = server.post("/v1-evaluate", &question("stopped-bot"))?;
        assert_eq!(answer.body["deny_code"], "STOPPED", "{}", answer.body);
        let old: Vec<_> = {
            let mut acknowledged = acknowledged.lock().unwrap();
            let many = acknowledged.stops.len().saturating_sub(3);
            let old: Vec<_> = acknowledged.stops.iter().take(many).cloned().collect();
            // If the kill comes before the answer, the stop may be lifted or not.
            for id in &old {
                acknowledged.stops.remove(id);
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
    acknowledged: &Mutex<Acknowledged>,
    round: u32,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let request = question("deploy-bot");
    while !over.load(Ordering::SeqCst) {
        let answer = server.post("/v1-evaluate", &request)?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.body["permit_token"].as_str().unwrap().to_owned();
        let (presented, _) = {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged
                .hashes
                .insert(answer.body["audit_hash"].as_str().unwrap().to_owned());
            acknowledged.fresh.push((token, version(round)));
            // Some permits stay unused across the restart.
            if acknowledged.fresh.len() <= WAITING {
                continue;
            }
            let at = fastrand::usize(..acknowledged.fresh.len());
            acknowledged.fresh.swap_remove(at)
        };
        match verify(server, &presented) {
            Ok(answer) => {
                assert_eq!(answer["valid"], true, "{answer}");
                acknowledged.lock().unwrap().used.push(presented);
            }
            Err(error) => {
                acknowledged.lock().unwrap().lost.push(presented);
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
