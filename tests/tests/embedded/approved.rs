//! No series of steps uses a permit of a held request without as many distinct approvers as its
//! policy asks for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use atlasent::wire::{EvaluateRequest, RequestOptions, StopScope, VerifyRequest};
use atlasent::{Agent, Authority};
use atlasent_authority::approvals::{Approver, Ballot, EscalationId};
use atlasent_authority::{LocalAuthority, Policies};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::approvals::{HOLDS, approve, request};
use crate::support::{Time, now};

const START: i64 = 1_800_000_000;

/// The questions, which differ in their context.
const QUESTIONS: [&str; 2] = ["4f2a", "ffff"];

/// The people: two names of one person, and one who has the name of the agent.
const PEOPLE: [&str; 5] = ["alice", "ALICE", "bob", "carol", "Bot"];

#[derive(Clone, Debug)]
enum Step {
    /// Asks, and uses the permit if there is one.
    Ask {
        question: usize,
    },
    /// Votes on the newest decision of a question, or on an older one.
    Vote {
        question: usize,
        age: usize,
        person: usize,
        is_sre: bool,
        approves: bool,
    },
    /// Approves for any context, which the policy does not allow.
    Grant {
        question: usize,
        person: usize,
    },
    /// Escalates or ends a decision by hand.
    Escalate {
        question: usize,
        person: usize,
    },
    /// Moves the clock, in either direction.
    Time {
        seconds: i64,
    },
    /// Puts policies with another quorum in force.
    Quorum {
        quorum: usize,
    },
    Stop,
    Lift,
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let (question, person) = (0..QUESTIONS.len(), 0..PEOPLE.len());
    let vote = (
        question.clone(),
        0_usize..3,
        person.clone(),
        any::<bool>(),
        0_u8..6,
    );
    let vote = vote.prop_map(|(question, age, person, is_sre, approves)| Step::Vote {
        question,
        // Mostly the newest one, by those who may, in favour.
        age: age / 2,
        person,
        is_sre: is_sre || age > 0,
        approves: approves > 0,
    });
    prop_oneof![
        6 => question.clone().prop_map(|question| Step::Ask { question }),
        10 => vote,
        1 => (question.clone(), person.clone()).prop_map(|(question, person)| Step::Grant { question, person }),
        1 => (question, person).prop_map(|(question, person)| Step::Escalate { question, person }),
        2 => (-150_i64..150).prop_map(|seconds| Step::Time { seconds }),
        1 => (1_usize..4).prop_map(|quorum| Step::Quorum { quorum }),
        1 => Just(Step::Stop),
        2 => Just(Step::Lift),
        1 => Just(Step::Expire),
    ]
}

/// What a decision got, as its answers said.
#[derive(Debug, Default)]
struct Votes {
    approvers: HashSet<String>,
    is_rejected: bool,
    is_used: bool,
}

fn with_quorum(quorum: usize) -> Policies {
    Policies::parse(&HOLDS.replace("@quorum(\"2\")", &format!("@quorum(\"{quorum}\")"))).unwrap()
}

fn authority_at(time: &Time) -> LocalAuthority {
    let builder = LocalAuthority::builder(with_quorum(2)).clock(time.stepping(0));
    now(builder.build())
}

fn approver(person: usize, role: &str) -> Approver {
    Approver::new(PEOPLE[person], [role]).unwrap()
}

#[test]
fn an_approval_is_for_the_very_question_and_each_other_value_is_another_one() {
    let asked = || {
        request("4f2a").with_options(
            RequestOptions::default()
                .environment("production")
                .amount(7),
        )
    };
    type Change = fn(&mut EvaluateRequest);
    let changes: [(&str, Change); 8] = [
        ("agent", |request| {
            request.actor_id = Agent::new("other").unwrap();
        }),
        ("resource", |request| {
            request.resource_id = Some("other".to_owned());
        }),
        ("environment", |request| {
            request.options.environment = Some("staging".to_owned());
        }),
        ("no environment", |request| {
            request.options.environment = None;
        }),
        ("amount", |request| request.options.amount = Some(8.into())),
        ("no amount", |request| request.options.amount = None),
        ("a value", |request| {
            request.context.insert("commit", "ffff").unwrap();
        }),
        ("a value more", |request| {
            request.context.insert("more", &1).unwrap();
        }),
    ];
    for (name, change) in changes {
        let authority = authority_at(&Time::default());
        let held = now(authority.evaluate(&asked()));
        approve(
            &authority,
            held.escalation_id.clone().unwrap().parse().unwrap(),
        );
        let mut other = asked();
        change(&mut other);
        let answer = now(authority.evaluate(&other));
        assert!(answer.permit_token.is_none(), "{name}: {answer:?}");
        assert_ne!(answer.escalation_id, held.escalation_id, "{name}");
        let same = now(authority.evaluate(&asked()));
        assert_eq!(same.escalation_id, held.escalation_id, "{name}");
        assert!(same.permit_token.is_some(), "{name}: {same:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_series_of_steps_runs_a_held_body_without_its_approvers(steps in vec(step(), 1..80)) {
        let (time, mut at) = (Time::default(), START);
        time.set(at);
        let authority = authority_at(&time);
        let mut quorum = 2;
        let mut decisions: [Vec<EscalationId>; 2] = Default::default();
        let mut votes: HashMap<EscalationId, Votes> = HashMap::new();
        let mut stop = None;
        for step in steps {
            match step {
                Step::Ask { question } => {
                    let asked = request(QUESTIONS[question]);
                    let answer = now(authority.evaluate(&asked));
                    let id = answer.escalation_id.map(|id| id.parse::<EscalationId>().unwrap());
                    if let Some(id) = id && !votes.contains_key(&id) {
                        votes.insert(id, Votes::default());
                        decisions[question].push(id);
                    }
                    let Some(token) = answer.permit_token else { continue };
                    let verified = now(authority.verify(&VerifyRequest::restating(&asked, token)));
                    prop_assert!(verified.valid, "{verified:?}");
                    // Here the body runs.
                    prop_assert!(stop.is_none());
                    let votes = votes.get_mut(&id.unwrap()).unwrap();
                    prop_assert!(decisions[question].contains(&id.unwrap()), "of another question");
                    prop_assert!(votes.approvers.len() >= quorum, "{quorum}: {votes:?}");
                    prop_assert!(!votes.is_rejected && !votes.is_used, "{votes:?}");
                    votes.is_used = true;
                }
                Step::Vote { question, age, person, is_sre, approves } => {
                    let Some(id) = decisions[question].iter().rev().nth(age).copied() else { continue };
                    let who = approver(person, if is_sre { "sre" } else { "intern" });
                    let ballot = match approves {
                        true => Ballot::approve(who),
                        false => Ballot::reject(who),
                    };
                    let voted = futures_executor::block_on(authority.vote(id, ballot));
                    if voted.is_err() {
                        continue;
                    }
                    let name = PEOPLE[person].to_lowercase();
                    let votes = votes.get_mut(&id).unwrap();
                    match approves {
                        // A vote that is repeated is answered as the first one.
                        true => {
                            prop_assert!(name != "bot" && (is_sre || votes.approvers.contains(&name)));
                            votes.approvers.insert(name);
                        }
                        false => {
                            prop_assert!(is_sre || votes.is_rejected);
                            votes.is_rejected = true;
                        }
                    }
                }
                Step::Grant { question, person } => {
                    let Some(id) = decisions[question].last().copied() else { continue };
                    let ballot = Ballot::approve(approver(person, "sre"));
                    let ballot = ballot.for_any_context(Duration::from_secs(60), 5);
                    let granted = futures_executor::block_on(authority.vote(id, ballot));
                    // To a person who has approved, the answer is that of the first vote.
                    let has_approved = votes[&id].approvers.contains(&PEOPLE[person].to_lowercase());
                    prop_assert!(granted.is_err() || has_approved);
                }
                Step::Escalate { question, person } => {
                    let Some(id) = decisions[question].last().copied() else { continue };
                    let who = approver(person, "sre");
                    let _ = futures_executor::block_on(authority.escalate_approval(id, &who, None));
                }
                Step::Time { seconds } => {
                    at += seconds;
                    time.set(at);
                }
                Step::Quorum { quorum: new } => {
                    quorum = new;
                    now(authority.replace_policies(with_quorum(quorum)));
                }
                Step::Stop => {
                    let set = now(authority.stop(StopScope::all(), "an alarm", None));
                    stop = Some(set.id);
                }
                Step::Lift => {
                    for stop in now(authority.stops()) {
                        now(authority.lift_stop(&stop.id, "over"));
                    }
                    stop = None;
                }
                Step::Expire => now(authority.expire_due_approvals()),
            }
        }
        prop_assert!(now(authority.trail()).verify().is_intact());
    }
}
