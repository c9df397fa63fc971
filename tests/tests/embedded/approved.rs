//! No series of steps uses a permit of a held request without as many distinct approvers as each of
//! its policies asks for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use atlasent::wire::{EvaluateRequest, Evaluation, RequestOptions, StopScope, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::approvals::{Approver, Ballot, EscalationId};
use atlasent_authority::{Caller, EvaluateOutcome, LocalAuthority, Policies};
use futures_executor::block_on;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::approvals::{HOLDS, approve, request};
use crate::support::{Time, now};

const START: i64 = 1_800_000_000;

/// Policies that hold the same requests, some of which allow grants for any context.
const POLICIES: &str = r#"
    permit (principal, action, resource);
    @id("four-eyes") @decision("hold") @approvers("role:sre") @quorum("QUORUM")
    @approval_ttl("100s")
    forbid (principal, action == Action::"deploy", resource);
    @id("large") @decision("hold") @approvers("role:teller")
    @approval_ttl("100s") @approval_grants("60s")
    forbid (principal, action == Action::"pay", resource) when { context.amount > 100 };
    @id("huge") @decision("hold") @approvers("role:director") @quorum("2")
    @approval_ttl("100s") @approval_grants("60s")
    forbid (principal, action == Action::"pay", resource) when { context.amount > 10000 };
    @id("abroad") @decision("hold") @approvers("role:auditor") @approval_ttl("100s")
    forbid (principal, action == Action::"pay", resource) when { context.abroad };
"#;

/// A rule of the policies.
#[derive(Debug)]
struct Rule {
    /// The role of its approvers. Unset for any approver.
    role: Option<&'static str>,
    /// How many approvals it takes. Unset for the quorum that the steps change.
    quorum: Option<usize>,
    grants: bool,
}

impl Rule {
    const fn new(role: &'static str, quorum: Option<usize>, grants: bool) -> Self {
        let role = Some(role);
        Self {
            role,
            quorum,
            grants,
        }
    }

    fn counts(&self, role: &str) -> bool {
        self.role.is_none_or(|named| named == role)
    }
}

const FOUR_EYES: Rule = Rule::new("sre", None, false);
const LARGE: Rule = Rule::new("teller", Some(1), true);
const HUGE: Rule = Rule::new("director", Some(2), true);
const ABROAD: Rule = Rule::new("auditor", Some(1), false);
/// What a request asks for that no policy holds.
const BY_REQUEST: Rule = Rule {
    role: None,
    quorum: Some(1),
    grants: false,
};

/// The questions: the action, the amount, whether it goes abroad, and the rules that hold it. Those
/// of one action differ in their context alone.
const QUESTIONS: [(&str, u32, bool, &[Rule]); 8] = [
    ("deploy", 1, false, &[FOUR_EYES]),
    ("deploy", 2, false, &[FOUR_EYES]),
    ("pay", 500, false, &[LARGE]),
    ("pay", 600, false, &[LARGE]),
    ("pay", 50_000, false, &[LARGE, HUGE]),
    ("pay", 60_000, false, &[LARGE, HUGE]),
    ("pay", 700, true, &[LARGE, ABROAD]),
    ("pay", 50, false, &[BY_REQUEST]),
];

/// The people: two names of one person, and one who has the name of the agent.
const PEOPLE: [&str; 5] = ["alice", "ALICE", "bob", "carol", "Bot"];

const ROLES: [&str; 5] = ["sre", "teller", "director", "auditor", "intern"];

/// The people whose API keys ask. Unset for the program that embeds the authority, and for a key
/// that belongs to no person.
const ASKERS: [Option<&str>; 4] = [None, None, Some("Alice"), Some("bob")];

#[derive(Clone, Debug)]
enum Step {
    /// Asks, and uses the permit if there is one.
    Ask {
        question: usize,
        asker: usize,
    },
    /// Votes on the newest decision of a question, or on an older one, for this call or for a
    /// number of uses in any context.
    Vote {
        question: usize,
        age: usize,
        person: usize,
        /// One of the roles that the policies name, or any other.
        role: usize,
        is_named: bool,
        approves: bool,
        times: Option<u32>,
    },
    /// Escalates a decision by hand.
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
        0..ROLES.len(),
        (0_u8..6, 0_u8..6),
        prop::option::of(1_u32..4),
    );
    let vote = vote.prop_map(|(question, age, person, role, (named, approves), times)| {
        Step::Vote {
            question,
            // Mostly the newest one, by those who may, in favour.
            age: age / 2,
            person,
            role,
            is_named: named > 0,
            approves: approves > 0,
            times,
        }
    });
    let ask = (question.clone(), 0..ASKERS.len());
    prop_oneof![
        8 => ask.prop_map(|(question, asker)| Step::Ask { question, asker }),
        12 => vote,
        1 => (question, person).prop_map(|(question, person)| Step::Escalate { question, person }),
        2 => (-30_i64..60).prop_map(|seconds| Step::Time { seconds }),
        1 => (1_usize..4).prop_map(|quorum| Step::Quorum { quorum }),
        1 => Just(Step::Stop),
        2 => Just(Step::Lift),
        1 => Just(Step::Expire),
    ]
}

/// What a decision got, as its answers said.
#[derive(Debug, Default)]
struct Votes {
    question: usize,
    askers: HashSet<String>,
    /// The role of each approver, and how often the approval is good in any context.
    approvals: HashMap<String, (&'static str, Option<u32>)>,
    is_rejected: bool,
    uses: u32,
}

impl Votes {
    fn rules(&self) -> &'static [Rule] {
        QUESTIONS[self.question].3
    }

    /// Returns how many permits the approvals are good for, and whether in any context.
    fn uses(&self) -> (u32, bool) {
        let times = self.approvals.values().map(|(_, times)| *times);
        // `None` sorts first: each approval has to grant more than the one call.
        match times.min().flatten() {
            Some(times) => (times, true),
            None => (1, false),
        }
    }

    /// Checks that the decision releases a question for a caller once more.
    fn check_release(
        &self,
        question: usize,
        asker: Option<&str>,
        quorum: usize,
    ) -> Result<(), TestCaseError> {
        let (action, .., rules) = QUESTIONS[question];
        for rule in rules {
            let roles = self.approvals.values().map(|(role, _)| role);
            let approved = roles.filter(|role| rule.counts(role)).count();
            let needed = rule.quorum.unwrap_or(quorum);
            prop_assert!(approved >= needed, "{rule:?}: {self:?}");
        }
        let (uses, is_any_context) = self.uses();
        prop_assert!(self.uses < uses && !self.is_rejected, "{self:?}");
        if self.question != question {
            prop_assert!(
                is_any_context && QUESTIONS[self.question].0 == action,
                "{self:?}"
            );
            prop_assert!(self.rules().iter().all(|rule| rule.grants), "{self:?}");
        }
        let own = asker.map(str::to_lowercase);
        let is_own = own.is_some_and(|own| self.approvals.contains_key(&own));
        prop_assert!(!is_own, "its approver asked: {self:?}");
        Ok(())
    }
}

/// A question, as its agent asks it.
fn asked(question: usize) -> EvaluateRequest {
    let (action, amount, abroad, _) = QUESTIONS[question];
    let action = AnyAction::new(action).unwrap();
    let action = action.with_field("amount", &amount).unwrap();
    let action = action.with_field("abroad", &abroad).unwrap();
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    request.with_options(RequestOptions::default().require_approval(true))
}

/// Asks as one of the callers.
fn ask(authority: &LocalAuthority, question: usize, asker: usize) -> Evaluation {
    let request = asked(question);
    if asker == 0 {
        return now(authority.evaluate(&request));
    }
    let id = format!("key_{asker}");
    let mut caller = Caller::new(&id, b"the key");
    if let Some(person) = ASKERS[asker] {
        caller = caller.principal(person);
    }
    match now(authority.evaluate_for(caller, &request, None)) {
        EvaluateOutcome::First(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn with_quorum(quorum: usize) -> Policies {
    Policies::parse(&POLICIES.replace("QUORUM", &quorum.to_string())).unwrap()
}

fn authority_at(time: &Time, policies: Policies) -> LocalAuthority {
    let builder = LocalAuthority::builder(policies).clock(time.stepping(0));
    now(builder.build())
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
        let authority = authority_at(&Time::default(), Policies::parse(HOLDS).unwrap());
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
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_series_of_steps_runs_a_held_body_without_its_approvers(steps in vec(step(), 1..120)) {
        let (time, mut at) = (Time::default(), START);
        time.set(at);
        let authority = authority_at(&time, with_quorum(2));
        let mut quorum = 2;
        let mut decisions: [Vec<EscalationId>; QUESTIONS.len()] = Default::default();
        let mut votes: HashMap<EscalationId, Votes> = HashMap::new();
        let mut stop = None;
        for step in steps {
            match step {
                Step::Ask { question, asker } => {
                    let answer = ask(&authority, question, asker);
                    let Some(id) = answer.escalation_id else { continue };
                    let id: EscalationId = id.parse().unwrap();
                    let votes_of = votes.entry(id).or_insert_with(|| {
                        decisions[question].push(id);
                        Votes { question, ..Votes::default() }
                    });
                    let Some(token) = answer.permit_token else {
                        votes_of.askers.extend(ASKERS[asker].map(str::to_lowercase));
                        continue;
                    };
                    let verify = VerifyRequest::restating(&asked(question), token);
                    let verified = now(authority.verify(&verify));
                    prop_assert!(verified.valid, "{verified:?}");
                    // Here the body runs.
                    prop_assert!(stop.is_none());
                    votes_of.check_release(question, ASKERS[asker], quorum)?;
                    votes_of.uses += 1;
                    // Of a payment, the policies stay the same.
                    let is_payment = QUESTIONS[question].0 == "pay";
                    for id in decisions[question].iter().filter(|_| is_payment) {
                        if votes[id].is_rejected {
                            let row = now(authority.approval(*id)).unwrap();
                            let asked_at = answer.timestamp.as_deref().unwrap();
                            let asked_at: jiff::Timestamp = asked_at.parse().unwrap();
                            prop_assert!(asked_at >= row.timeout_at, "it was rejected: {row:?}");
                        }
                    }
                }
                Step::Vote { question, age, person, role, is_named, approves, times } => {
                    let Some(id) = decisions[question].iter().rev().nth(age).copied() else { continue };
                    let rules = QUESTIONS[question].3;
                    let named = rules[role % rules.len()].role.filter(|_| is_named);
                    let role = named.unwrap_or(ROLES[role]);
                    let who = Approver::new(PEOPLE[person], [role]).unwrap();
                    let mut ballot = match approves {
                        true => Ballot::approve(who),
                        false => Ballot::reject(who),
                    };
                    if let Some(times) = times {
                        ballot = ballot.for_any_context(Duration::from_secs(60), times);
                    }
                    if block_on(authority.vote(id, ballot)).is_err() {
                        continue;
                    }
                    let name = PEOPLE[person].to_lowercase();
                    let votes = votes.get_mut(&id).unwrap();
                    let may_vote = rules.iter().any(|rule| rule.counts(role))
                        && name != "bot" && !votes.askers.contains(&name);
                    match approves {
                        // A vote that is repeated is answered as the first one.
                        true if votes.approvals.contains_key(&name) => {}
                        true => {
                            prop_assert!(may_vote, "{name} ({role}): {votes:?}");
                            prop_assert!(times.is_none() || rules.iter().all(|rule| rule.grants));
                            votes.approvals.insert(name, (role, times));
                        }
                        false => {
                            prop_assert!(may_vote || votes.is_rejected);
                            votes.is_rejected = true;
                        }
                    }
                }
                Step::Escalate { question, person } => {
                    let Some(id) = decisions[question].last().copied() else { continue };
                    let who = Approver::new(PEOPLE[person], ROLES).unwrap();
                    let _ = block_on(authority.escalate_approval(id, &who, None));
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
