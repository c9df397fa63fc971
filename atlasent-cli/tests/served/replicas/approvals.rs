//! Two servers that share a database hold and release as one authority.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{database, key, start};
use crate::http::{Answer, Connection};
use crate::organizations::support::write_policies;
use crate::process::Server;
use crate::trail::{HELD, QUORUM, Trail};

/// The longest time after which a client at one server knows what the other one decided.
const SOON: Duration = Duration::from_secs(5);

/// The time of the approvers for the resource `brief`.
const BRIEF: Duration = Duration::from_secs(1);

/// The time between two votes around the end of that time.
const STEP: Duration = Duration::from_millis(8);

struct Pair {
    servers: [Server; 2],
    agent: String,
    /// The keys of three people who may approve.
    people: [String; 3],
    _folders: [TempDir; 2],
}

impl Pair {
    /// Starts two servers. Returns `None` without PostgreSQL.
    fn start() -> Option<Self> {
        let database = database()?;
        let agent = key("key create", &database);
        let people = ["alice", "bob", "carol"].map(|name| {
            let command = format!("key create --approver {name} --role sre");
            key(&command, &database)
        });
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hold = format!(r#"@decision("hold") @approvers("role:sre") @quorum("{QUORUM}")"#);
        let policies = format!(
            r#"permit (principal, action, resource);
            {hold} @approval_ttl("1h")
            forbid (principal, action == Action::"{HELD}", resource);
            {hold} @approval_ttl("{}s")
            forbid (principal, action == Action::"{HELD}", resource == Resource::"brief");"#,
            BRIEF.as_secs()
        );
        let servers = folders.each_ref().map(|folder| {
            write_policies(&folder.path().join("policies"), &policies);
            start(folder.path(), &database)
        });
        Some(Self {
            servers,
            agent,
            people,
            _folders: folders,
        })
    }

    fn agent(&self, server: usize) -> Connection {
        Connection::open(self.servers[server].address, &self.agent).unwrap()
    }

    fn evaluate(&self, server: usize, resource: &str, number: usize) -> Value {
        let question = json!({
            "action_type": HELD, "actor_id": "release-bot", "resource_id": resource,
            "context": {"number": number}
        });
        let answer = self.agent(server).post("/v1-evaluate", &question).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Asks, and returns the id of the pending decision.
    fn held(&self, server: usize, resource: &str, number: usize) -> String {
        let answer = self.evaluate(server, resource, number);
        assert_eq!(answer["decision"], "hold", "{answer}");
        answer["escalation_id"].as_str().unwrap().to_owned()
    }

    fn person(&self, server: usize, person: usize) -> Connection {
        Connection::open(self.servers[server].address, &self.people[person]).unwrap()
    }

    fn vote(&self, server: usize, person: usize, id: &str, verb: &str) -> Answer {
        let path = format!("/v1/hitl/{id}/{verb}");
        self.person(server, person).post(&path, &json!({})).unwrap()
    }

    fn time_out(&self, server: usize, id: &str) -> Answer {
        let path = format!("/v1/hitl/{id}/timeout");
        self.agent(server).post(&path, &json!({})).unwrap()
    }

    /// Returns the status of a decision, which both servers have to agree on.
    fn status(&self, id: &str) -> String {
        let path = format!("/v1/hitl/{id}");
        let rows = [0, 1].map(|server| self.person(server, 0).get(&path).unwrap().body);
        assert_eq!(rows[0], rows[1]);
        rows[0]["status"].as_str().unwrap().to_owned()
    }

    /// Asks the same at both servers at once. Returns the number of permits.
    fn permits(&self, resource: &str, number: usize, id: &str) -> usize {
        let answers = at_once(|server| self.evaluate(server, resource, number));
        let allows = answers
            .iter()
            .filter(|answer| answer["decision"] == "allow");
        allows
            .inspect(|answer| {
                assert_eq!(answer["escalation_id"], id, "{answer}");
                let question = json!({
                    "permit_token": answer["permit_token"], "action_type": HELD,
                    "actor_id": "release-bot"
                });
                let verified = at_once(|server| {
                    let mut agent = self.agent(server);
                    agent.post("/v1-verify-permit", &question).unwrap().body["valid"] == true
                });
                assert!(verified[0] != verified[1], "it is good once: {verified:?}");
            })
            .count()
    }

    /// Reads the trail at both servers, which has to show what the decisions became.
    fn finish(&self, outcomes: &[(String, String)]) {
        for server in 0..2 {
            let trail = Trail::read("local", &mut self.agent(server));
            for (id, status) in outcomes {
                let decision = &trail.decisions[id];
                let is_approved = status == "approved";
                assert_eq!(decision.is_granted, is_approved, "{id}: {status}");
                assert_eq!(decision.is_refused, !is_approved, "{id}: {status}");
                assert_eq!(decision.permits, u32::from(is_approved), "{id}: {status}");
            }
            trail.finish();
        }
    }
}

/// Calls both servers at once.
fn at_once<T: Send>(call: impl Fn(usize) -> T + Sync) -> [T; 2] {
    let barrier = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let calls = [0, 1].map(|server| {
            let (call, barrier) = (&call, &barrier);
            scope.spawn(move || {
                barrier.wait();
                call(server)
            })
        });
        calls.map(|call| call.join().unwrap())
    })
}

#[test]
fn a_hold_of_one_server_is_listed_decided_and_released_at_the_other() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let id = pair.held(0, "shop", 1);
    let listed = pair.person(1, 0).get("/v1/hitl?status=pending").unwrap();
    assert_eq!(listed.body["escalations"][0]["id"], id, "{}", listed.body);
    assert_eq!(pair.held(1, "shop", 1), id, "the same question joins");
    let first = pair.vote(1, 0, &id, "approve");
    assert_eq!(first.body["status"], "pending", "{}", first.body);
    let second = pair.vote(1, 1, &id, "approve");
    assert_eq!(second.body["status"], "approved", "{}", second.body);
    let allowed = pair.evaluate(1, "shop", 1);
    assert_eq!(allowed["escalation_id"], id, "{allowed}");
    let question = json!({
        "permit_token": allowed["permit_token"], "action_type": HELD, "actor_id": "release-bot"
    });
    let verified = pair.agent(0).post("/v1-verify-permit", &question).unwrap();
    assert_eq!(verified.body["valid"], true, "{}", verified.body);
    assert_eq!(verified.body["approval"]["approval_id"], id);
    for server in 0..2 {
        assert_ne!(pair.held(server, "shop", 1), id, "the approval is used up");
    }
    pair.finish(&[(id, "approved".to_owned())]);
}

#[test]
fn a_client_that_waits_at_one_server_learns_what_the_other_decided() {
    let Some(pair) = Pair::start() else {
        return;
    };
    for (number, status) in ["approved", "rejected", "timed_out"]
        .into_iter()
        .enumerate()
    {
        let id = pair.held(0, "shop", number);
        pair.vote(1, 0, &id, "approve");
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    let mut agent = pair.agent(0);
                    let path = format!("/v1/hitl/{id}?wait=30");
                    scope.spawn(move || {
                        let row = agent.get(&path).unwrap().body;
                        (row["status"].clone(), Instant::now())
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(500));
            let closed = match status {
                "approved" => pair.vote(1, 1, &id, "approve"),
                "rejected" => pair.vote(1, 1, &id, "reject"),
                _ => pair.time_out(1, &id),
            };
            let at = Instant::now();
            assert_eq!(closed.body["status"], status, "{}", closed.body);
            for waiter in waiters {
                let (seen, when) = waiter.join().unwrap();
                assert_eq!(seen, status);
                let after = when.saturating_duration_since(at);
                assert!(after < SOON, "{status} was seen after {after:?}");
            }
        });
    }
}

#[test]
fn of_two_outcomes_at_two_servers_at_once_one_counts() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let mut outcomes = Vec::new();
    for number in 0..30 {
        let id = pair.held(number % 2, "shop", number);
        pair.vote(0, 0, &id, "approve");
        // Which server approves changes, so that none is the faster one.
        let approving = number / 2 % 2;
        let answers = at_once(|server| match (server == approving, number % 3) {
            (true, _) => pair.vote(server, 1, &id, "approve"),
            (false, 0) => pair.vote(server, 2, &id, "approve"),
            (false, 1) => pair.vote(server, 2, &id, "reject"),
            (false, _) => pair.time_out(server, &id),
        });
        let status = pair.status(&id);
        let mut codes = answers.each_ref().map(|answer| answer.status);
        codes.sort_unstable();
        assert_eq!(codes, [200, 409], "{number}: {status}");
        for answer in answers.iter().filter(|answer| answer.status == 200) {
            assert_eq!(answer.body["status"], *status);
        }
        let is_approved = status == "approved";
        let permits = pair.permits("shop", number, &id);
        assert_eq!(permits, usize::from(is_approved), "{number}: {status}");
        outcomes.push((id, status));
    }
    pair.finish(&outcomes);
}

#[test]
fn an_approval_at_the_end_of_the_time_counts_at_both_servers_or_at_none() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let mut outcomes = Vec::new();
    for number in 0..12_u32 {
        let asked = Instant::now();
        let id = pair.held(0, "brief", number as usize);
        pair.vote(0, 0, &id, "approve");
        let vote_at = BRIEF - 6 * STEP + number * STEP;
        std::thread::sleep(vote_at.saturating_sub(asked.elapsed()));
        let answer = pair.vote(1, 1, &id, "approve");
        let status = pair.status(&id);
        match answer.status {
            200 => assert_eq!(status, "approved", "{number}"),
            code => assert_eq!((code, &*status), (409, "timed_out"), "{number}"),
        }
        let is_approved = status == "approved";
        let permits = pair.permits("brief", number as usize, &id);
        assert_eq!(permits, usize::from(is_approved), "{number}: {status}");
        outcomes.push((id, status));
    }
    pair.finish(&outcomes);
}
