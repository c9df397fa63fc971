//! Votes, quorums and releases.

use atlasent::wire::ApprovalRecord;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::policy::{ApprovalRule, Approvers, Quorum};

const CALL: SignedDuration = SignedDuration::from_hours(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn rule(approvers: &str, quorum: &str) -> ApprovalRule {
    let mut rule = ApprovalRule::new("p");
    rule.approvers = Approvers::parse(approvers).unwrap();
    rule.quorum = Quorum::parse(quorum).unwrap();
    rule.ttl = std::time::Duration::from_secs(100);
    rule
}

fn row(rules: Vec<ApprovalRule>) -> ApprovalEntry {
    let question = Question {
        actors: Vec::new(),
        agent: atlasent::Agent::new("bot").unwrap(),
        action: "deploy".to_owned(),
        resource: None,
        environment: None,
        action_hash: "a".to_owned(),
        key_environment: None,
    };
    let mut row = ApprovalEntry::new(EscalationId::random(), question, at(0), at(100));
    row.policy = Some("slice".to_owned());
    row.rules = rules;
    row.askers.insert(Asker::Key("key_1".to_owned()));
    row.askers.insert(Asker::Principal("owner".to_owned()));
    row
}

fn vote(principal: &str, role: &str, approves: bool) -> Vote {
    Vote {
        id: "vote".to_owned(),
        approver: Approver::new(principal, [role]).unwrap(),
        via: Some(format!("key_of_{principal}")),
        approves,
        note: None,
        grant: None,
        artifact: None,
        at: at(10),
    }
}

/// The same question again, or one in another context, of a caller that did not ask before.
struct Asked {
    question: Question,
    policy: &'static str,
    rules: Vec<ApprovalRule>,
    askers: Vec<Asker>,
}

impl Asked {
    fn again(row: &ApprovalEntry) -> Self {
        Self {
            question: row.question.clone(),
            policy: "slice",
            rules: row.rules.clone(),
            askers: Vec::new(),
        }
    }

    fn elsewhere(row: &ApprovalEntry) -> Self {
        let mut asked = Self::again(row);
        asked.question.action_hash = "b".to_owned();
        asked
    }

    fn held(&self) -> HeldQuestion<'_> {
        HeldQuestion {
            question: &self.question,
            policy: self.policy,
            rules: &self.rules,
            askers: &self.askers,
        }
    }

    fn released<'a>(&self, row: &'a ApprovalEntry, second: i64) -> Option<&'a Release> {
        row.released(&self.held(), at(second))
    }
}

fn approve(row: &mut ApprovalEntry, principal: &str) -> Result<VoteOutcome, VoteRefusal> {
    row.vote(vote(principal, "sre", true), CALL)
}

#[test]
fn the_last_approval_that_is_needed_grants_one_use() {
    let mut row = row(vec![rule("role:sre", "2")]);
    assert_eq!(approve(&mut row, "alice"), Ok(VoteOutcome::Counted));
    let again = Asked::again(&row);
    assert!(again.released(&row, 10).is_none());
    assert_eq!(approve(&mut row, "bob"), Ok(VoteOutcome::Granted));
    assert_eq!(row.state, ApprovalState::Approved);
    let release = again.released(&row, 10).unwrap();
    assert_eq!((release.uses_left, release.any_context), (1, false));
    assert_eq!(release.until, at(10 + 3_600));
}

#[test]
fn a_release_fits_its_policies_its_context_and_its_time_alone() {
    let mut row = row(vec![rule("role:sre", "1")]);
    approve(&mut row, "alice").unwrap();
    let mut asked = Asked::again(&row);
    assert!(asked.released(&row, 3_609).is_some());
    assert!(asked.released(&row, 3_610).is_none());
    assert!(Asked::elsewhere(&row).released(&row, 10).is_none());
    asked.policy = "other";
    assert!(asked.released(&row, 10).is_none());
    row.release.as_mut().unwrap().uses_left = 0;
    assert!(Asked::again(&row).released(&row, 10).is_none());
}

#[test]
fn a_person_votes_once_however_the_name_is_written() {
    let mut row = row(vec![rule("role:sre", "2")]);
    approve(&mut row, "alice").unwrap();
    assert_eq!(approve(&mut row, "alice"), Ok(VoteOutcome::Repeated));
    assert_eq!(approve(&mut row, "Alice"), Ok(VoteOutcome::Repeated));
    assert_eq!(row.tally().approved, 1);
    let refused = row.vote(vote("ALICE", "sre", false), CALL);
    assert_eq!(
        refused,
        Err(VoteRefusal::VotedOtherwise("ALICE".to_owned()))
    );
}

#[test]
fn a_repeated_approval_grants_nothing_that_the_first_did_not() {
    let mut row = row(vec![rule("role:sre", "2")]);
    let granting = |times| Vote {
        grant: Some(GrantedUse { lasts: CALL, times }),
        ..vote("alice", "sre", true)
    };
    row.rules[0].grants = Some(CALL.unsigned_abs());
    assert_eq!(row.vote(granting(5), CALL), Ok(VoteOutcome::Counted));
    let again = [
        (granting(5), true),
        (vote("alice", "sre", true), true),
        (granting(6), false),
    ];
    for (again, is_same) in again {
        assert_eq!(row.vote(again, CALL).is_ok(), is_same);
    }
    assert_eq!(row.votes.len(), 1);
}

#[test]
fn nobody_approves_what_they_asked_for() {
    let asked = |voter: Vote| {
        let mut row = row(vec![rule("role:sre", "1")]);
        (row.vote(voter, CALL), row.state)
    };
    let mut by_key = vote("alice", "sre", true);
    by_key.via = Some("key_1".to_owned());
    for voter in [
        vote("bot", "sre", true),
        vote("BOT", "sre", true),
        vote("owner", "sre", true),
        by_key,
    ] {
        let name = voter.approver.principal.clone();
        let refused = (Err(VoteRefusal::OwnQuestion(name)), ApprovalState::Pending);
        assert_eq!(asked(voter), refused);
    }
}

#[test]
fn a_delegate_does_not_approve_what_is_asked_with_its_token() {
    let mut row = row(vec![rule("role:sre", "1")]);
    for actor in ["helper", "Alice"] {
        row.question
            .actors
            .push(atlasent::Agent::new(actor).unwrap());
    }
    for actor in ["helper", "alice", "ALICE", "bot"] {
        let refused = Err(VoteRefusal::OwnQuestion(actor.to_owned()));
        assert_eq!(approve(&mut row, actor), refused);
    }
    assert_eq!(approve(&mut row, "bob"), Ok(VoteOutcome::Granted));
}

#[test]
fn an_approver_who_asks_afterwards_gets_no_release() {
    let mut generous = rule("role:sre", "2");
    generous.grants = Some(std::time::Duration::from_secs(600));
    let mut row = row(vec![generous]);
    for principal in ["alice", "bob"] {
        let mut vote = vote(principal, "sre", true);
        let lasts = SignedDuration::from_secs(600);
        vote.grant = Some(GrantedUse { lasts, times: 5 });
        row.vote(vote, CALL).unwrap();
    }
    let key = |id: &str| Asker::Key(id.to_owned());
    let person = |name: &str| Asker::Principal(name.to_owned());
    for (askers, withheld_from) in [
        (vec![key("key_2"), person("carol")], None),
        (vec![], None),
        (vec![key("key_of_alice")], Some("alice")),
        (vec![key("key_2"), person("Bob")], Some("bob")),
    ] {
        for mut asked in [Asked::again(&row), Asked::elsewhere(&row)] {
            asked.askers.clone_from(&askers);
            let is_released = asked.released(&row, 20).is_some();
            assert_eq!(is_released, withheld_from.is_none(), "{askers:?}");
            let withheld = row.withheld_from(&asked.held(), at(20));
            assert_eq!(withheld, withheld_from, "{askers:?}");
            assert_eq!(row.withheld_from(&asked.held(), at(3_700)), None);
        }
    }
}

#[test]
fn one_rejection_ends_it_and_another_person_cannot_change_that() {
    let mut row = row(vec![rule("role:sre", "1")]);
    let outsider = row.vote(vote("eve", "intern", false), CALL);
    assert!(matches!(outsider, Err(VoteRefusal::NotAnApprover { .. })));
    assert_eq!(
        row.vote(vote("alice", "sre", false), CALL),
        Ok(VoteOutcome::Rejected)
    );
    assert_eq!(row.state, ApprovalState::Rejected);
    assert_eq!(
        approve(&mut row, "bob"),
        Err(VoteRefusal::Closed(ApprovalState::Rejected))
    );
    assert!(Asked::again(&row).released(&row, 10).is_none());
}

#[test]
fn each_rule_needs_its_approvals_and_one_vote_counts_for_each_that_it_fits() {
    let mut row = row(vec![rule("role:sre", "1"), rule("role:security", "1")]);
    assert_eq!(approve(&mut row, "alice"), Ok(VoteOutcome::Counted));
    assert_eq!(row.tally().remaining, 1);
    let security = vote("sam", "security", true);
    assert_eq!(row.vote(security, CALL), Ok(VoteOutcome::Granted));

    let mut row = self::row(vec![rule("role:sre", "1"), rule("role:security", "1")]);
    let mut both = vote("alice", "sre", true);
    both.approver.roles.push("security".to_owned());
    assert_eq!(row.vote(both, CALL), Ok(VoteOutcome::Granted));
}

#[test]
fn an_escalation_adds_approvers_and_time_until_there_is_nobody_left() {
    let mut held = rule("role:sre", "1");
    held.escalate_to = vec![Approvers::parse("role:cto").unwrap()];
    let mut row = row(vec![held]);
    assert!(matches!(
        row.vote(vote("carol", "cto", true), CALL),
        Err(VoteRefusal::NotAnApprover { .. })
    ));
    assert_eq!(row.last_timeout(), at(200));
    assert!(row.escalate(None, None, at(150)));
    assert_eq!(
        (row.state, row.timeout_at),
        (ApprovalState::Escalated, at(250))
    );
    assert!(!row.escalate(None, None, at(160)));
    assert_eq!(row.steps.len(), 1);
    assert_eq!(
        row.vote(vote("carol", "cto", true), CALL),
        Ok(VoteOutcome::Granted)
    );
}

#[test]
fn a_grant_for_any_context_needs_a_policy_and_every_approval() {
    let often = |principal: &str, seconds, times| {
        let mut vote = vote(principal, "sre", true);
        let lasts = SignedDuration::from_secs(seconds);
        vote.grant = Some(GrantedUse { lasts, times });
        vote
    };
    let mut plain = row(vec![rule("role:sre", "1")]);
    assert!(matches!(
        plain.vote(often("alice", 60, 5), CALL),
        Err(VoteRefusal::Grant(_))
    ));

    let mut generous = rule("role:sre", "2");
    generous.grants = Some(std::time::Duration::from_secs(600));
    for (seconds, times) in [(601, 1), (0, 1), (60, 0)] {
        let mut row = row(vec![generous.clone()]);
        let refused = row.vote(often("alice", seconds, times), CALL);
        assert!(
            matches!(refused, Err(VoteRefusal::Grant(_))),
            "{seconds} {times}"
        );
        assert!(row.votes.is_empty());
    }
    let mut row = row(vec![generous.clone()]);
    row.vote(often("alice", 600, 5), CALL).unwrap();
    row.vote(often("bob", 300, 9), CALL).unwrap();
    let release = Asked::elsewhere(&row).released(&row, 20).unwrap();
    assert_eq!((release.uses_left, release.until), (5, at(310)));

    let mut row = self::row(vec![generous]);
    row.vote(often("alice", 600, 5), CALL).unwrap();
    approve(&mut row, "bob").unwrap();
    assert!(Asked::elsewhere(&row).released(&row, 20).is_none());
    assert_eq!(Asked::again(&row).released(&row, 20).unwrap().uses_left, 1);
}

#[test]
fn a_grant_for_any_context_releases_what_its_approvers_decided_on_and_nothing_more() {
    let generous = |policy: &str, approvers: &str| {
        let mut rule = rule(approvers, "1");
        rule.policy = policy.into();
        rule.grants = Some(std::time::Duration::from_secs(600));
        rule
    };
    let (large, huge) = (
        generous("large", "role:sre"),
        generous("huge", "role:director"),
    );
    let granted = |rules: &[&ApprovalRule]| {
        let mut row = row(rules.iter().map(|rule| (*rule).clone()).collect());
        for (principal, role) in [("alice", "sre"), ("dan", "director")] {
            let mut vote = vote(principal, role, true);
            let lasts = SignedDuration::from_secs(60);
            vote.grant = Some(GrantedUse { lasts, times: 5 });
            drop(row.vote(vote, CALL));
        }
        row
    };
    let release_of = |row: &ApprovalEntry, rules: &[&ApprovalRule]| {
        let mut asked = Asked::elsewhere(row);
        asked.rules = rules.iter().map(|rule| (*rule).clone()).collect();
        asked.released(row, 20).is_some()
    };
    let of_large = granted(&[&large]);
    assert!(release_of(&of_large, &[&large]));
    assert!(!release_of(&of_large, &[&huge]));
    assert!(!release_of(&of_large, &[&large, &huge]));
    assert!(!release_of(
        &of_large,
        &[&ApprovalRule::new("require_approval")]
    ));
    let mut stricter = large.clone();
    stricter.quorum = Quorum::Number(2);
    assert!(!release_of(&of_large, &[&stricter]));
    let of_both = granted(&[&large, &huge]);
    assert!(release_of(&of_both, &[&huge, &large]));
    assert!(release_of(&of_both, &[&huge]));
}

#[test]
fn a_decision_that_was_opened_by_hand_releases_nothing() {
    let mut row = row(vec![rule("role:sre", "1")]);
    row.policy = None;
    assert_eq!(approve(&mut row, "alice"), Ok(VoteOutcome::Granted));
    let mut asked = Asked::again(&row);
    assert!(asked.released(&row, 10).is_none());
    asked.policy = "";
    assert!(asked.released(&row, 10).is_none());
}

#[test]
fn a_decision_without_a_rule_is_never_granted() {
    let mut row = row(Vec::new());
    assert!(!row.tally().satisfied);
    assert!(matches!(
        approve(&mut row, "alice"),
        Err(VoteRefusal::NotAnApprover { .. })
    ));
}

#[test]
fn a_row_is_stored_whole() {
    let mut row = row(vec![rule("role:sre", "2")]);
    approve(&mut row, "alice").unwrap();
    let mut signed = vote("bob", "sre", true);
    signed.artifact = Some(ApprovalRecord::new("apr-1", "9f86d0", "bob", "svc", "k"));
    row.vote(signed, CALL).unwrap();
    let stored = serde_json::to_string(&row).unwrap();
    assert_eq!(serde_json::from_str::<ApprovalEntry>(&stored).unwrap(), row);
}

#[test]
fn a_permit_records_the_artifact_of_a_signed_approval_and_the_decision_of_a_plain_vote() {
    let mut row = row(vec![rule("role:sre", "2")]);
    let artifact = ApprovalRecord::new("apr-1", "9f86d0", "bob", "svc", "k");
    let mut signed = vote("bob", "sre", true);
    signed.artifact = Some(artifact.clone());
    row.vote(signed, CALL).unwrap();
    approve(&mut row, "alice").unwrap();
    let records = row.approval_records();
    assert_eq!(records[0], artifact);
    assert_eq!(records[1].approval_id, row.id.to_string());
    assert_eq!(records[1].artifact_hash.len(), 64);
    let by = (&*records[1].issuer_id, &*records[1].kid);
    assert_eq!(by, ("atlasent", "key_of_alice"));
}

#[test]
fn a_vote_that_an_earlier_version_stored_has_no_artifact() {
    let mut row = row(vec![rule("role:sre", "1")]);
    approve(&mut row, "alice").unwrap();
    let stored = serde_json::to_value(&row).unwrap();
    assert_eq!(stored["votes"][0].get("artifact"), None);
    let read: ApprovalEntry = serde_json::from_value(stored).unwrap();
    assert_eq!(read.votes[0].artifact, None);
    assert_eq!(read.approval_records()[0].issuer_id, "atlasent");
}

proptest! {
    /// After any sequence of votes and escalations, a release has the number of distinct approvers
    /// that each rule asks for, no approver who asked, and no rejection.
    #[test]
    fn no_release_lacks_an_approver(
        quorums in proptest::collection::vec(1_u32..4, 1..3),
        steps in proptest::collection::vec((0_usize..8, 0_usize..3, any::<bool>(), 0_u8..10), 0..24),
    ) {
        let roles = ["sre", "security", "intern"];
        let names = ["alice", "Alice", "bob", "carol", "dave", "bot", "owner", "erin"];
        let rules: Vec<_> = quorums
            .iter()
            .zip(roles)
            .map(|(quorum, role)| rule(&format!("role:{role}"), &quorum.to_string()))
            .collect();
        let mut row = row(rules.clone());
        for (name, role, approves, what) in steps {
            match what {
                0 => drop(row.escalate(None, None, at(10))),
                _ => drop(row.vote(vote(names[name], roles[role], approves), CALL)),
            }
        }
        if Asked::again(&row).released(&row, 10).is_some() {
            for (rule, role) in rules.iter().zip(roles) {
                let mut people: Vec<_> = row
                    .votes
                    .iter()
                    .filter(|vote| vote.approves && vote.approver.roles == [role])
                    .map(|vote| vote.approver.principal.to_lowercase())
                    .collect();
                people.sort();
                people.dedup();
                prop_assert!(people.len() >= rule.quorum.required() as usize);
                prop_assert!(!people.iter().any(|name| name == "bot" || name == "owner"));
            }
            prop_assert!(row.votes.iter().all(|vote| vote.approves));
        }
    }
}
