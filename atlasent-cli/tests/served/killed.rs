//! A server that is killed with SIGKILL under load starts again with everything that it
//! acknowledged to each of its organizations.

mod approvals;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use self::approvals::{Approvals, PEOPLE};
use super::http::Connection;
use super::organizations::support::{create, policies as policies_of};
use super::process::{KEY, Server};
use super::trail::{HELD, QUORUM, Trail};

/// The number of kills of all servers, unless `ATLASENT_TORTURE_ROUNDS` sets another one.
const ROUNDS: u32 = 200;

/// The organizations that are under load. All use the same names for everything.
const ORGS: [&str; 3] = ["local", "acme", "globex"];

/// The number of permits of an organization that stay unused, so that some are unused during a
/// kill.
const WAITING: usize = 1;

/// An organization of the server.
struct Org {
    id: &'static str,
    key: String,
    policies: PathBuf,
    trail: Trail,
    acknowledged: Mutex<Acknowledged>,
    approvals: Approvals,
}

/// A client of an organization.
#[derive(Clone, Copy)]
enum Client {
    /// Asks for permits and uses them.
    Agent,
    /// Sets and lifts stops.
    Stops,
    /// Asks for what people have to approve.
    HeldAgent,
    /// One of the people.
    Person(usize),
}

/// The answers that the clients of an organization got, over all rounds.
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

impl Org {
    fn new(data: &Path, id: &'static str) -> Self {
        Self {
            key: match id {
                "local" => KEY.to_owned(),
                _ => create(data, id),
            },
            policies: match id {
                "local" => data.join("policies"),
                _ => policies_of(data, id),
            },
            trail: Trail::new(id),
            acknowledged: Mutex::default(),
            approvals: Approvals::new(data, id),
            id,
        }
    }

    fn connect(&self, server: &Server) -> Connection {
        Connection::open(server.address, &self.key).unwrap()
    }

    /// Runs a client until the load is over, or until the server is killed.
    fn run(
        &self,
        client: Client,
        address: SocketAddr,
        round: u32,
        load: &Load,
    ) -> std::io::Result<()> {
        let key = match client {
            Client::Person(person) => self.approvals.key(person),
            Client::Agent | Client::Stops | Client::HeldAgent => &self.key,
        };
        let mut server = Connection::open(address, key)?;
        match client {
            Client::Agent => ask(&mut server, self, round, load),
            Client::Stops => stop_and_ask(&mut server, &self.acknowledged, load),
            Client::HeldAgent => self.approvals.ask(&mut server, load),
            Client::Person(person) => self.approvals.vote(&mut server, person, load),
        }
    }

    /// Returns the policies of a round. The policy of the requested action changes in some rounds,
    /// that of another action in each.
    fn write_policies(&self, round: u32) {
        let (id, version) = (self.id, self.version(round));
        let text = format!(
            r#"@reason("{id} {version}")
            permit (principal, action == Action::"deploy.production", resource);
            @reason("round {round}")
            permit (principal, action == Action::"read", resource);
            permit (principal, action == Action::"{HELD}", resource);
            @decision("hold") @approvers("role:sre") @quorum("{QUORUM}") @approval_ttl("24h")
            forbid (principal, action == Action::"{HELD}", resource);"#
        );
        std::fs::create_dir_all(&self.policies).unwrap();
        std::fs::write(self.policies.join("policies.cedar"), text).unwrap();
    }

    /// Returns the version of the policy of the requested action in a round. Those of two
    /// organizations change in different rounds.
    fn version(&self, round: u32) -> u32 {
        let phase = ORGS.iter().position(|id| *id == self.id).unwrap();
        (round + phase as u32) / 2
    }

    /// Compares what the server has after a kill with what it acknowledged.
    fn check(&mut self, server: &Server, round: u32) {
        let mut connection = self.connect(server);
        self.trail.read_on(&mut connection);
        let hashes = std::mem::take(&mut self.acknowledged.lock().unwrap().hashes);
        for hash in hashes {
            assert!(
                self.trail.hashes.contains(&hash),
                "round {round}: an acknowledged event of `{}` is gone",
                self.id
            );
        }
        present_again(&mut connection, &self.acknowledged);
        outdated_are_refused(&mut connection, &self.acknowledged, self.version(round));
        stops_still_hold(&mut connection, &self.acknowledged);
        self.approvals.check(server, &mut connection, &self.trail);
    }
}

#[test]
fn acknowledged_answers_survive_a_kill_and_no_permit_is_used_twice() {
    let rounds = std::env::var("ATLASENT_TORTURE_ROUNDS");
    let rounds: u32 = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    // Two servers with stores of their own: while one of them starts, the other one is under load.
    std::thread::scope(|scope| {
        let halves = [rounds.div_ceil(2), rounds / 2].into_iter();
        let servers: Vec<_> = halves
            .filter(|rounds| *rounds > 0)
            .map(|rounds| scope.spawn(move || kill_again_and_again(rounds)))
            .collect();
        for server in servers {
            println!("{}", server.join().unwrap().join("\n"));
        }
    });
}

/// Kills a server in each round, and compares what it has with what it answered. Returns what
/// happened, in lines.
fn kill_again_and_again(rounds: u32) -> Vec<String> {
    let data = tempfile::tempdir().unwrap();
    let mut orgs = ORGS.map(|id| Org::new(data.path(), id));
    let mut random = fastrand::Rng::new();
    for round in 0..rounds {
        for org in &orgs {
            org.write_policies(round);
        }
        // Recovery in either way loses nothing that was acknowledged.
        let options = ["--log-level", "error", "--fast-recovery"];
        let options = options.get(..2 + round as usize % 2).unwrap();
        let server = Server::start(data.path(), options);
        for org in &mut orgs {
            org.check(&server, round);
        }
        permits_are_good_in_their_organization_alone(&server, &orgs);
        let kill = Kill {
            after: Duration::from_micros(random.u64(500..60_000)),
            answers: random.u32(..16),
        };
        load_until_killed(server, &orgs, round, kill);
    }
    let server = Server::start(data.path(), &["--log-level", "error"]);
    let (mut all_hashes, mut happened) = (HashSet::new(), Vec::new());
    for org in &mut orgs {
        org.check(&server, rounds - 1);
        let mut connection = org.connect(&server);
        happened.push(org.approvals.finish(org.id, &mut connection));
        org.trail.read_on(&mut connection);
        for hash in &org.trail.hashes {
            assert!(all_hashes.insert(hash.clone()), "an event is on two chains");
        }
    }
    for org in orgs {
        let verified = org.trail.verified.len();
        let report = org.trail.finish();
        let acknowledged = org.acknowledged.into_inner().unwrap();
        happened.push(format!(
            "{rounds} kills, `{}`: {} events, {} permits acknowledged as used, {verified} used, {} refused since \
             their policies had changed, {} stops",
            org.id,
            report.events,
            acknowledged.used.len(),
            acknowledged.changed,
            acknowledged.stops.len()
        ));
        assert!(acknowledged.changed > 0 && !acknowledged.stops.is_empty());
        assert!(!acknowledged.used.is_empty() && report.events > u64::from(rounds));
    }
    happened
}

/// Presents an unused permit of each organization with the keys of the others. It stays unused.
fn permits_are_good_in_their_organization_alone(server: &Server, orgs: &[Org]) {
    for (at, org) in orgs.iter().enumerate() {
        let fresh = &org.acknowledged.lock().unwrap().fresh;
        let Some((token, _)) = fresh.last() else {
            continue;
        };
        let other = &orgs[(at + 1) % orgs.len()];
        let answer = verify(&mut other.connect(server), token).unwrap();
        assert_eq!(answer["valid"], false, "{answer}");
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
fn outdated_are_refused(server: &mut Connection, acknowledged: &Mutex<Acknowledged>, now: u32) {
    let mut acknowledged = acknowledged.lock().unwrap();
    for (token, granted_by) in std::mem::take(&mut acknowledged.fresh) {
        if granted_by == now {
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

/// When a server is killed.
struct Kill {
    /// The shortest time of the load.
    after: Duration,
    /// The number of answers to wait for, so that a slow machine has some, too.
    answers: u32,
}

/// The longest time of the load.
const LONGEST: Duration = Duration::from_millis(500);

/// The state of the load.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answers: AtomicU32,
}

impl Load {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn wait_for(&self, kill: &Kill) {
        let started = Instant::now();
        std::thread::sleep(kill.after);
        while self.answers.load(Ordering::SeqCst) < kill.answers && started.elapsed() < LONGEST {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Has each organization under load until the server is killed, one of them with stops, and one
/// with approvals.
fn load_until_killed(server: Server, orgs: &[Org; 3], round: u32, kill: Kill) {
    let address = server.address;
    let load = Load::default();
    let stopping = &orgs[round as usize % orgs.len()];
    let deciding = &orgs[(round as usize + 1) % orgs.len()];
    std::thread::scope(|scope| {
        let people = (0..PEOPLE.len()).map(Client::Person);
        let deciding = people
            .chain([Client::HeldAgent])
            .map(|client| (deciding, client));
        let agents = orgs.iter().map(|org| (org, Client::Agent));
        for (org, client) in agents.chain(deciding).chain([(stopping, Client::Stops)]) {
            let load = &load;
            scope.spawn(move || {
                // The client ends at the first error, which is the kill of the server.
                let done = org.run(client, address, round, load);
                assert!(load.is_over(), "an error before the kill: {done:?}");
            });
        }
        load.wait_for(&kill);
        load.over.store(true, Ordering::SeqCst);
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
    load: &Load,
) -> std::io::Result<()> {
    let body = json!({ "agent_id": "stopped-bot", "reason": "a drill" });
    while !load.is_over() {
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

fn ask(server: &mut Connection, org: &Org, round: u32, load: &Load) -> std::io::Result<()> {
    let acknowledged = &org.acknowledged;
    let version = org.version(round);
    let request = question("deploy-bot");
    while !load.is_over() {
        let answer = server.post("/v1-evaluate", &request)?;
        load.answers.fetch_add(1, Ordering::SeqCst);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.body["permit_token"].as_str().unwrap().to_owned();
        let (presented, _) = {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged
                .hashes
                .insert(answer.body["audit_hash"].as_str().unwrap().to_owned());
            acknowledged.fresh.push((token, version));
            // Some permits stay unused across the restart.
            if acknowledged.fresh.len() <= WAITING {
                continue;
            }
            let at = fastrand::usize(..acknowledged.fresh.len());
            acknowledged.fresh.swap_remove(at)
        };
        match verify(server, &presented) {
            Ok(answer) => {
                load.answers.fetch_add(1, Ordering::SeqCst);
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
