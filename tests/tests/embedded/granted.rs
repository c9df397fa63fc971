//! Tests that an approval for any context releases what its approvers decided on, and nothing more.

use std::time::Duration;

use atlasent::wire::{EvaluateRequest, Evaluation, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, Decision};
use atlasent_authority::approvals::{Approver, Ballot, EscalationId};
use atlasent_authority::{Caller, EvaluateOutcome, LocalAuthority, Policies};

use crate::support::{Time, now};

const PAYMENTS: &str = r#"
    permit (principal, action, resource);
    @id("large") @decision("hold") @approvers("role:teller") @approval_grants("1h")
    forbid (principal, action == Action::"pay", resource) when { context.amount > 100 };
    @id("huge") @decision("hold") @approvers("role:director") @quorum("2") @approval_grants("1h")
    forbid (principal, action == Action::"pay", resource) when { context.amount > 10000 };
"#;

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(PAYMENTS).unwrap()).unwrap()
}

fn pay(amount: u32) -> EvaluateRequest {
    let action = AnyAction::new("pay").unwrap();
    let action = action.with_field("amount", &amount).unwrap();
    EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
}

/// Asks, and returns the id of the pending decision.
fn held(authority: &LocalAuthority, request: &EvaluateRequest) -> EscalationId {
    let answer = now(authority.evaluate(request));
    assert_eq!(answer.decision, Decision::Hold, "{answer:?}");
    assert!(answer.permit_token.is_none());
    answer.escalation_id.unwrap().parse().unwrap()
}

fn is_allowed(authority: &LocalAuthority, request: &EvaluateRequest) -> bool {
    let answer = now(authority.evaluate(request));
    assert_eq!(answer.decision.is_allow(), answer.permit_token.is_some());
    answer.decision.is_allow()
}

/// Asks with an API key.
fn ask_with(authority: &LocalAuthority, key: Caller<'_>, request: &EvaluateRequest) -> Evaluation {
    match now(authority.evaluate_for(key, request, None)) {
        EvaluateOutcome::First(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn person(name: &str, role: &str) -> Approver {
    Approver::new(name, [role]).unwrap()
}

/// Approves a number of uses in any context.
fn grant(authority: &LocalAuthority, id: EscalationId, by: Approver, times: u32) {
    let ballot = Ballot::approve(by).for_any_context(Duration::from_secs(600), times);
    now(authority.vote(id, ballot));
}

#[test]
fn a_grant_for_any_context_lifts_no_hold_that_its_approvers_did_not_decide_on() {
    let authority = authority();
    let id = held(&authority, &pay(500));
    grant(&authority, id, person("tina", "teller"), 2);
    assert!(is_allowed(&authority, &pay(700)));

    let huge = held(&authority, &pay(50_000));
    assert_ne!(huge, id, "the directors decided on nothing");
    let rules = now(authority.approval(huge)).unwrap().rules;
    let rules: Vec<_> = rules.iter().map(|rule| &*rule.policy).collect();
    assert_eq!(rules.len(), 2, "{rules:?}");
    let required = RequestOptions::default().require_approval(true);
    let asked = held(&authority, &pay(50).with_options(required));
    assert_ne!(asked, id, "the request asks for an approval of its own");

    assert!(
        is_allowed(&authority, &pay(800)),
        "they used nothing of the grant up"
    );
    assert_ne!(held(&authority, &pay(900)), id, "the uses are used up");

    // Those who decided on both policies decided on each of them.
    grant(&authority, huge, person("tina", "teller"), 9);
    grant(&authority, huge, person("dan", "director"), 9);
    held(&authority, &pay(60_000));
    grant(&authority, huge, person("dora", "director"), 9);
    assert!(is_allowed(&authority, &pay(60_000)));
    assert!(is_allowed(&authority, &pay(901)));
}

#[test]
fn an_approver_who_asks_the_same_afterwards_gets_no_permit_and_uses_nothing_up() {
    let bob = Caller::new("key_bob", b"the key of bob").principal("bob");
    let tina = Caller::new("key_tina", b"the key of tina").principal("Tina");
    let authority = authority();
    let id = ask_with(&authority, bob, &pay(500)).escalation_id;
    let approval = id.as_ref().unwrap().parse().unwrap();
    now(authority.vote(approval, Ballot::approve(person("tina", "teller"))));
    let own = ask_with(&authority, tina, &pay(500));
    assert_eq!(own.decision, Decision::Deny, "{own:?}");
    assert_eq!(own.code.as_deref(), Some("SELF_APPROVAL"));
    assert_eq!((&own.permit_token, &own.escalation_id), (&None, &id));
    assert!(ask_with(&authority, bob, &pay(500)).permit_token.is_some());

    // Nor does a grant for any context release what its approver asks.
    let id = ask_with(&authority, bob, &pay(600)).escalation_id.unwrap();
    grant(&authority, id.parse().unwrap(), person("tina", "teller"), 5);
    let own = ask_with(&authority, tina, &pay(700));
    assert_eq!(own.decision, Decision::Hold, "{own:?}");
    assert_ne!(own.escalation_id, Some(id));
    assert!(ask_with(&authority, bob, &pay(700)).permit_token.is_some());
}

#[test]
fn an_approver_who_joins_after_the_vote_gets_no_permit_either() {
    let bob = Caller::new("key_bob", b"the key of bob");
    let dan = Caller::new("key_dan", b"the key of dan").principal("dan");
    let authority = authority();
    let id = ask_with(&authority, bob, &pay(50_000)).escalation_id;
    let approval: EscalationId = id.as_ref().unwrap().parse().unwrap();
    let vote = |name, role| now(authority.vote(approval, Ballot::approve(person(name, role))));
    vote("dan", "director");
    let joined = ask_with(&authority, dan, &pay(50_000));
    assert_eq!(
        (joined.decision, &joined.escalation_id),
        (Decision::Hold, &id)
    );
    vote("dora", "director");
    vote("tina", "teller");
    let own = ask_with(&authority, dan, &pay(50_000));
    assert_eq!(own.code.as_deref(), Some("SELF_APPROVAL"), "{own:?}");
    assert!(
        ask_with(&authority, bob, &pay(50_000))
            .permit_token
            .is_some()
    );
}

#[test]
fn no_agent_that_acts_for_another_approves_what_it_asks() {
    let authority = authority();
    let delegated = pay(500).with_actors([Agent::new("tina").unwrap()]);
    let id = held(&authority, &delegated);
    let own = authority.vote(id, Ballot::approve(person("tina", "teller")));
    let refused = futures_executor::block_on(own).unwrap_err();
    assert!(refused.to_string().contains("asked for this"), "{refused}");
    now(authority.vote(id, Ballot::approve(person("tom", "teller"))));
    assert!(is_allowed(&authority, &delegated));
}

#[test]
fn a_rejection_stands_against_grants_for_any_context_before_and_after_it() {
    let time = Time::default();
    time.set(1_800_000_000);
    for is_rejected_first in [true, false] {
        let builder = LocalAuthority::builder(Policies::parse(PAYMENTS).unwrap());
        let authority = now(builder.clock(time.stepping(0)).build());
        let rejected = held(&authority, &pay(500));
        let granted = held(&authority, &pay(600));
        let reject = || {
            let ballot = Ballot::reject(person("tom", "teller")).note("not this one");
            now(authority.vote(rejected, ballot))
        };
        if is_rejected_first {
            reject();
        }
        grant(&authority, granted, person("tina", "teller"), 9);
        if !is_rejected_first {
            reject();
        }
        for _ in 0..2 {
            let answer = now(authority.evaluate(&pay(500)));
            assert_eq!(answer.decision, Decision::Deny, "{answer:?}");
            assert_eq!(answer.code.as_deref(), Some("APPROVAL_REJECTED"));
            assert_eq!(
                answer.reason.as_deref(),
                Some("rejected by `tom`: not this one")
            );
            assert_eq!(answer.escalation_id, Some(rejected.to_string()));
            assert!(is_allowed(&authority, &pay(700)));
        }
    }
}

#[test]
fn a_rejection_that_has_expired_leaves_the_question_to_grants_again() {
    let time = Time::default();
    time.set(1_800_000_000);
    let policies = PAYMENTS.replace(
        "@approval_grants",
        "@approval_ttl(\"100s\") @approval_grants",
    );
    let builder = LocalAuthority::builder(Policies::parse(&policies).unwrap());
    let authority = now(builder.clock(time.stepping(0)).build());
    let rejected = held(&authority, &pay(500));
    now(authority.vote(rejected, Ballot::reject(person("tom", "teller"))));
    let granted = held(&authority, &pay(600));
    grant(&authority, granted, person("tina", "teller"), 9);
    time.set(1_800_000_099);
    assert!(!is_allowed(&authority, &pay(500)));
    time.set(1_800_000_100);
    assert!(is_allowed(&authority, &pay(500)));
}

#[test]
fn a_second_grant_leaves_the_first_as_it_is() {
    for (first, second) in [(5, 1), (1, 5), (3, 3)] {
        let authority = authority();
        let ids = [held(&authority, &pay(500)), held(&authority, &pay(600))];
        for (id, times) in ids.into_iter().zip([first, second]) {
            grant(&authority, id, person("tina", "teller"), times);
        }
        for amount in 1..=6 {
            assert!(is_allowed(&authority, &pay(1_000 + amount)), "{amount}");
        }
        held(&authority, &pay(2_000));
    }
}

#[test]
fn a_grant_of_some_policies_leaves_that_of_others_as_it_is() {
    for is_huge_first in [true, false] {
        let authority = authority();
        let (large, huge) = (held(&authority, &pay(500)), held(&authority, &pay(50_000)));
        let grant_large = || grant(&authority, large, person("tina", "teller"), 2);
        let grant_huge = || {
            for by in [
                person("tom", "teller"),
                person("dan", "director"),
                person("dora", "director"),
            ] {
                grant(&authority, huge, by, 2);
            }
        };
        if is_huge_first {
            grant_huge();
            grant_large();
        } else {
            grant_large();
            grant_huge();
        }
        for amount in [50_001, 50_002] {
            assert!(is_allowed(&authority, &pay(amount)), "{amount}");
        }
        held(&authority, &pay(50_003));
        for amount in [501, 502] {
            assert!(is_allowed(&authority, &pay(amount)), "{amount}");
        }
        held(&authority, &pay(503));
    }
}

#[test]
fn the_grant_that_expires_first_is_used_first() {
    let time = Time::default();
    time.set(1_800_000_000);
    let builder = LocalAuthority::builder(Policies::parse(PAYMENTS).unwrap());
    let authority = now(builder.clock(time.stepping(0)).build());
    let (long, short) = (held(&authority, &pay(500)), held(&authority, &pay(600)));
    for (id, seconds) in [(long, 1_000), (short, 100)] {
        let ballot = Ballot::approve(person("tina", "teller"));
        let ballot = ballot.for_any_context(Duration::from_secs(seconds), 1);
        now(authority.vote(id, ballot));
    }
    assert!(is_allowed(&authority, &pay(700)));
    time.set(1_800_000_100);
    assert!(is_allowed(&authority, &pay(800)));
    held(&authority, &pay(900));
}
