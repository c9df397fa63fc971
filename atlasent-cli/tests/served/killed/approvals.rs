//! Approvals under the load: an agent whose requests are held, and two people who decide on them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiScope, KeyFile};
use serde_json::{Value, json};

use super::Load;
use crate::http::{Answer, Connection};
use crate::organizations::support::new_key;
use crate::process::Server;
use crate::trail::{HELD, Trail};

/// The people whose votes are needed.
pub(super) const PEOPLE: [&str; 2] = ["alice", "bob"];

/// The number of decisions that are open at a time.
const OPEN: usize = 3;

/// The number of granted approvals that stay unused, so that some are unused during a kill.
const WAITING: usize = 1;

/// One of this many questions is rejected by one of the people.
const REJECTED: u32 = 4;

/// The agent and the people of an organization, with the answers that they got over all rounds.
pub(super) struct Approvals {
    people: [String; 2],
    answered: Mutex<Answered>,
}

#[derive(Default)]
struct Answered {
    /// The number of questions so far.
    asked: u32,
    /// The decisions that were open in the last answer.
    open: Vec<Question>,
    /// The decisions that were granted, and not used.
    granted: VecDeque<Question>,
    /// The decisions whose use got no answer.
    lost: Vec<Question>,
    /// The decisions that were rejected since the last kill.
    rejected: Vec<Question>,
    /// The number of decisions that were rejected before it.
    rejections: usize,
    /// The ids of the decisions that were answered as granted.
    granted_ids: Vec<String>,
    /// The number of permits that approvals released.
    released: u32,
    /// The votes that were answered since the last kill: the decision and the person.
    votes: Vec<(String, &'static str)>,
}

/// A held question, and the id of its decision.
#[derive(Clone, Debug)]
struct Question {
    number: u32,
    id: String,
    /// Who has voted.
    voted: [bool; 2],
}

impl Question {
    fn request(number: u32) -> Value {
        json!({"action_type": HELD, "actor_id": "release-bot", "context": {"number": number}})
    }

    fn is_to_be_rejected(&self) -> bool {
        self.number % REJECTED == REJECTED - 1
    }
}

impl Approvals {
    /// Creates the API keys of the people of an organization.
    pub(super) fn new(data: &Path, org: &str) -> Self {
        let people = PEOPLE.map(|name| {
            let (mut key, secret) = new_key(org);
            key.scopes = ApiScope::APPROVER.to_vec();
            key.approver = Some(Approver::new(name, ["sre"]).unwrap());
            KeyFile::new(data.join("keys.json")).add(key).unwrap();
            secret
        });
        let answered = Mutex::default();
        Self { people, answered }
    }

    pub(super) fn key(&self, person: usize) -> &str {
        &self.people[person]
    }

    fn lock(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap()
    }

    /// Asks new questions, and uses the approvals of older ones.
    pub(super) fn ask(&self, server: &mut Connection, load: &Load) -> io::Result<()> {
        while !load.is_over() {
            let (granted, number) = {
                let mut answered = self.lock();
                let granted = match answered.granted.len() > WAITING {
                    true => answered.granted.pop_front(),
                    false => None,
                };
                answered.lost.extend(granted.clone());
                (granted, answered.asked)
            };
            if let Some(question) = granted {
                let answer = evaluate(server, question.number)?;
                assert_eq!(answer["decision"], "allow", "{question:?}: {answer}");
                assert_eq!(answer["escalation_id"], question.id, "{answer}");
                {
                    let mut answered = self.lock();
                    answered.lost.retain(|lost| lost.id != question.id);
                    answered.released += 1;
                }
                verify(server, &answer)?;
            } else if self.lock().open.len() < OPEN {
                let id = held(&evaluate(server, number)?);
                let mut answered = self.lock();
                answered.asked += 1;
                answered.opened(number, id);
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    /// Votes on each open decision as one of the people.
    pub(super) fn vote(
        &self,
        server: &mut Connection,
        person: usize,
        load: &Load,
    ) -> io::Result<()> {
        while !load.is_over() {
            let Some(question) = self.lock().next_for(person) else {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            let verb = match question.is_to_be_rejected() && person == 1 {
                true => "reject",
                false => "approve",
            };
            let path = format!("/v1/hitl/{}/{verb}", question.id);
            let answer = server.post(&path, &json!({}))?;
            self.lock().voted(person, &question, &answer);
        }
        Ok(())
    }

    /// Compares what the store and the trail have after a kill with what was answered.
    pub(super) fn check(&self, server: &Server, agent: &mut Connection, trail: &Trail) {
        let mut person = Connection::open(server.address, self.key(0)).unwrap();
        let mut answered = self.lock();
        let mut in_store: HashMap<String, Value> = HashMap::new();
        for (id, name) in std::mem::take(&mut answered.votes) {
            let decision = trail.decisions.get(&id);
            let is_recorded = decision.is_some_and(|decision| decision.votes.contains_key(name));
            assert!(
                is_recorded,
                "a vote of `{name}` on {id} is not on the trail"
            );
            let path = format!("/v1/hitl/{id}/approvals");
            let votes = in_store
                .entry(id)
                .or_insert_with(|| person.get(&path).unwrap().body);
            let mut votes = votes["approvals"].as_array().unwrap().iter();
            assert!(
                votes.any(|vote| vote["user_id"] == name),
                "a vote of `{name}` is not in the store: {path}"
            );
        }
        for id in &answered.granted_ids {
            assert!(trail.decisions[id].is_granted, "the approval {id} is gone");
        }
        for question in &answered.granted {
            assert_eq!(status(&mut person, &question.id), "approved");
        }
        for question in std::mem::take(&mut answered.rejected) {
            let answer = evaluate(agent, question.number).unwrap();
            assert_eq!(answer["deny_code"], "APPROVAL_REJECTED", "{answer}");
            answered.rejections += 1;
        }
        for mut question in std::mem::take(&mut answered.open) {
            // The answer to a vote was lost if it closed the decision.
            match &*status(&mut person, &question.id) {
                "pending" => {
                    // The people vote again, which changes nothing if their votes were recorded.
                    question.voted = [false; 2];
                    answered.open.push(question);
                }
                "approved" => answered.granted(question),
                "rejected" => answered.rejected.push(question),
                other => panic!("{question:?} is {other}"),
            }
        }
        for question in std::mem::take(&mut answered.lost) {
            answered.used_up(agent, &question);
        }
    }

    /// Uses all approvals that are left, and returns what happened.
    pub(super) fn finish(&self, org: &str, agent: &mut Connection) -> String {
        let mut answered = self.lock();
        for question in std::mem::take(&mut answered.granted) {
            let answer = evaluate(agent, question.number).unwrap();
            assert_eq!(answer["escalation_id"], question.id, "{answer}");
            assert!(answer["permit_token"].is_string(), "{answer}");
            answered.released += 1;
            answered.used_up(agent, &question);
        }
        assert!(answered.released > 0 && answered.rejections > 0);
        format!(
            "`{org}`: {} questions, {} approvals acknowledged as granted, {} as used",
            answered.asked,
            answered.granted_ids.len(),
            answered.released
        )
    }
}

impl Answered {
    fn opened(&mut self, number: u32, id: String) {
        self.open.retain(|open| open.id != id);
        self.open.push(Question {
            number,
            id,
            voted: [false; 2],
        });
    }

    fn granted(&mut self, question: Question) {
        self.granted_ids.push(question.id.clone());
        self.granted.push_back(question);
    }

    /// Returns a decision that a person has to vote on. The second person leaves the newest one
    /// alone, so that some have one vote during a kill.
    fn next_for(&self, person: usize) -> Option<Question> {
        let ready = self.open.len().saturating_sub(person);
        let mut ready = self.open.iter().take(ready);
        ready.find(|question| !question.voted[person]).cloned()
    }

    fn voted(&mut self, person: usize, question: &Question, answer: &Answer) {
        if answer.status == 409 && question.is_to_be_rejected() {
            // The other one was faster.
            assert_eq!(answer.body["code"], "ESCALATION_CLOSED", "{}", answer.body);
        } else {
            assert_eq!(answer.status, 200, "{}", answer.body);
            self.votes.push((question.id.clone(), PEOPLE[person]));
        }
        let Some(at) = self.open.iter().position(|open| open.id == question.id) else {
            return;
        };
        match answer.body["status"].as_str() {
            Some("approved") => {
                let question = self.open.remove(at);
                self.granted(question);
            }
            Some("rejected") => {
                let question = self.open.remove(at);
                self.rejected.push(question);
            }
            _ => self.open[at].voted[person] = true,
        }
    }

    /// Asks a question again whose approval is used, or can be used once.
    fn used_up(&mut self, agent: &mut Connection, question: &Question) {
        let mut answer = evaluate(agent, question.number).unwrap();
        if answer["decision"] == "allow" {
            assert_eq!(answer["escalation_id"], question.id, "{answer}");
            answer = evaluate(agent, question.number).unwrap();
        }
        let id = held(&answer);
        assert_ne!(id, question.id, "a used approval is open again");
        self.opened(question.number, id);
    }
}

fn evaluate(server: &mut Connection, number: u32) -> io::Result<Value> {
    let answer = server.post("/v1-evaluate", &Question::request(number))?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Ok(answer.body)
}

/// Returns the id of the decision that a held request waits for.
fn held(answer: &Value) -> String {
    assert_eq!(answer["decision"], "hold", "{answer}");
    assert!(answer["permit_token"].is_null(), "{answer}");
    answer["escalation_id"].as_str().unwrap().to_owned()
}

/// Uses a permit that an approval released.
fn verify(server: &mut Connection, allowed: &Value) -> io::Result<()> {
    let question = json!({
        "permit_token": allowed["permit_token"], "action_type": HELD, "actor_id": "release-bot"
    });
    let answer = server.post("/v1-verify-permit", &question)?.body;
    assert_eq!(answer["valid"], true, "{answer}");
    let id = &answer["approval"]["approval_id"];
    assert_eq!(*id, allowed["escalation_id"], "{answer}");
    Ok(())
}

fn status(person: &mut Connection, id: &str) -> String {
    let row = person.get(&format!("/v1/hitl/{id}")).unwrap().body;
    row["status"].as_str().unwrap().to_owned()
}
