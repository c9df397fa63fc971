//! Tests budgets end to end: what a permit takes, what is given back, and what takes nothing.

use std::collections::HashMap;
use std::time::Duration;

use atlasent::wire::{
    EvaluateRequest, Evaluation, PermitInfo, PermitStatus, RequestOptions, StopScope, VerifyRequest,
};
use atlasent::{Agent, AnyAction, Authority, AuthorityExt, Decision, Error};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::permits::PermitFilter;
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Time, now, refusal};

const POLICIES: &str = r#"
    @id("pay") @budget("amount 100/hour per agent, calls 5/hour per agent")
    permit (principal, action == Action::"pay", resource);
    @id("refund") @budget("order.total 50/day per resource")
    permit (principal, action == Action::"refund", resource);
    permit (principal, action == Action::"look", resource);
    @decision("hold") @approvers("role:sre")
    forbid (principal, action == Action::"pay", resource == Resource::"vault");
"#;

const START: i64 = 1_800_000_000;

fn authority_at(time: &Time) -> LocalAuthority {
    let builder = LocalAuthority::builder(Policies::parse(POLICIES).unwrap())
        .permit_ttl(Duration::from_secs(64))
        .clock(time.stepping(0));
    now(builder.build())
}

fn authority() -> LocalAuthority {
    let time = Time::default();
    time.set(START);
    authority_at(&time)
}

fn pay_by(agent: &str, amount: impl serde::Serialize) -> EvaluateRequest {
    let pay = AnyAction::new("pay").unwrap();
    let pay = pay.with_field("amount", &amount).unwrap();
    EvaluateRequest::new(Agent::new(agent).unwrap(), &pay).unwrap()
}

fn pay(amount: impl serde::Serialize) -> EvaluateRequest {
    pay_by("bot", amount)
}

fn ask(authority: &LocalAuthority, request: &EvaluateRequest) -> Evaluation {
    now(authority.evaluate(request))
}

/// Returns what is left of each budget, by its text.
fn left(answer: &Evaluation) -> HashMap<&str, &str> {
    let states = answer.budgets.iter();
    states
        .map(|state| (&*state.budget, &*state.remaining))
        .collect()
}

fn verify(authority: &LocalAuthority, request: &EvaluateRequest, answer: &Evaluation) -> bool {
    let token = answer.permit_token.clone().unwrap();
    now(authority.verify(&VerifyRequest::restating(request, token))).valid
}

#[test]
fn a_shadow_of_a_held_request_is_denied_where_the_request_is() {
    let authority = authority();
    let decided = |amount: serde_json::Value, shadow: bool| {
        let vault = AnyAction::new("pay").unwrap().with_resource("vault");
        let vault = vault.with_field("amount", &amount).unwrap();
        let mut request = EvaluateRequest::new(Agent::new("bot").unwrap(), &vault).unwrap();
        request.shadow = shadow.then_some(true);
        let answer = ask(&authority, &request);
        (answer.decision, answer.code)
    };
    for amount in [json!(-1), json!("x"), json!(5)] {
        let decision = decided(amount.clone(), true);
        assert_eq!(decision, decided(amount, false));
    }
    assert_eq!(decided(json!(5), true).0, Decision::Hold);
    let bad = Some("BUDGET_AMOUNT_INVALID".to_owned());
    assert_eq!(decided(json!(-1), true), (Decision::Deny, bad));
}

#[test]
fn sums_are_exact_and_each_budget_counts_on_its_own() {
    let authority = authority();
    // As floats, 0.1 and 0.2 add up to more than 0.3.
    let cents: serde_json::Value = serde_json::from_str("99.7").unwrap();
    for (amount, remaining) in [(cents, "0.3"), (json!(0.1), "0.2"), (json!("0.2"), "0")] {
        let answer = ask(&authority, &pay(amount));
        assert_eq!(answer.decision, Decision::Allow, "{answer:?}");
        assert_eq!(left(&answer)["amount 100/hour per agent"], remaining);
    }
    let denied = ask(&authority, &pay(0.0001));
    assert_eq!(denied.code.as_deref(), Some("BUDGET_EXCEEDED"));
    assert_eq!(left(&denied)["calls 5/hour per agent"], "2");
    let reason = denied.reason.unwrap();
    assert!(
        reason.contains("0 is left") && reason.contains("0.0001"),
        "{reason}"
    );
    assert!(ask(&authority, &pay(0)).decision.is_allow());
    assert!(ask(&authority, &pay(0)).decision.is_allow());
    let denied = ask(&authority, &pay(0));
    assert!(denied.reason.unwrap().contains("`calls 5/hour per agent`"));
    // Another agent has a budget of its own, and other actions have none.
    assert!(ask(&authority, &pay_by("other", 100)).decision.is_allow());
    let look = AnyAction::new("look").unwrap();
    let look = EvaluateRequest::new(Agent::new("bot").unwrap(), &look).unwrap();
    assert!(ask(&authority, &look).budgets.is_empty());
}

#[test]
fn a_budget_of_a_resource_is_shared_by_all_agents() {
    let authority = authority();
    let refund = |agent: &str, order: &'static str, total: u64| {
        let refund = AnyAction::new("refund").unwrap().with_resource(order);
        let refund = refund
            .with_field("order", &json!({"total": total}))
            .unwrap();
        ask(
            &authority,
            &EvaluateRequest::new(Agent::new(agent).unwrap(), &refund).unwrap(),
        )
    };
    assert!(refund("a", "order-1", 30).decision.is_allow());
    assert!(!refund("b", "order-1", 30).decision.is_allow());
    assert!(refund("b", "order-1", 20).decision.is_allow());
    assert!(refund("b", "order-2", 50).decision.is_allow());
}

#[test]
fn an_amount_that_cannot_be_added_up_denies_and_takes_nothing() {
    let authority = authority();
    for amount in [
        json!(null),
        json!("lots"),
        json!(-1),
        json!(0.00001),
        json!([1]),
    ] {
        let denied = ask(&authority, &pay(&amount));
        assert_eq!(denied.decision, Decision::Deny, "{amount}");
        assert_eq!(
            denied.code.as_deref(),
            Some("BUDGET_AMOUNT_INVALID"),
            "{amount}"
        );
        assert!(denied.permit_token.is_none());
    }
    let vault = AnyAction::new("pay").unwrap().with_resource("vault");
    let held = EvaluateRequest::new(Agent::new("bot").unwrap(), &vault).unwrap();
    let denied = ask(&authority, &held);
    assert_eq!(denied.code.as_deref(), Some("BUDGET_AMOUNT_INVALID"));
    assert!(denied.escalation_id.is_none());
    let answer = ask(
        &authority,
        &pay(100).with_options(RequestOptions::default().amount(100)),
    );
    assert_eq!(left(&answer)["amount 100/hour per agent"], "0");
}

#[test]
fn a_shadow_and_a_repetition_take_nothing() {
    let authority = authority();
    let shadow = pay(60).shadow(true);
    for _ in 0..3 {
        assert!(ask(&authority, &shadow).decision.is_allow());
    }
    let once = pay(60).with_options(RequestOptions::default().request_id("r1"));
    let first = ask(&authority, &once);
    for _ in 0..3 {
        assert_eq!(ask(&authority, &once), first);
    }
    assert_eq!(left(&first)["amount 100/hour per agent"], "40");
    assert_eq!(
        left(&ask(&authority, &pay(1)))["amount 100/hour per agent"],
        "39"
    );
    // A shadow tells what would be denied.
    assert_eq!(
        ask(&authority, &shadow).code.as_deref(),
        Some("BUDGET_EXCEEDED")
    );
}

#[test]
fn an_unused_permit_gives_its_amount_back_and_a_used_one_does_not() {
    let time = Time::default();
    time.set(START);
    let authority = authority_at(&time);
    let remaining = |amount: u64| {
        let answer = ask(&authority, &pay(amount));
        answer
            .permit_token
            .as_ref()
            .map(|_| left(&answer)["amount 100/hour per agent"].to_owned())
    };
    let (used, revoked, burnt) = (pay(10), pay(20), pay(30));
    let answers = [&used, &revoked, &burnt].map(|request| ask(&authority, request));
    assert!(verify(&authority, &used, &answers[0]));
    assert_eq!(remaining(41), None);
    now(authority.revoke(answers[1].permit_token.as_ref().unwrap(), "why"));
    assert_eq!(remaining(61), None);
    // Presented for something else, the permit is burnt, and no body runs under it.
    assert!(!verify(&authority, &pay(31), &answers[2]));
    let denied = ask(&authority, &pay(91));
    assert_eq!(left(&denied)["amount 100/hour per agent"], "90");
    assert_eq!(left(&denied)["calls 5/hour per agent"], "4");
    let wait = denied.retry_after.unwrap();
    assert!((3_600..=3_657).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(
        ask(&authority, &pay(101)).retry_after,
        None,
        "it never fits"
    );
    let all = pay(90);
    let answer = ask(&authority, &all);
    assert_eq!(left(&answer)["amount 100/hour per agent"], "0");
    let wait = ask(&authority, &pay(90)).retry_after.unwrap();
    assert!((64..=65).contains(&wait.as_secs()), "{wait:?}");
    time.set(START + 66);
    assert!(!verify(&authority, &all, &answer));
    assert_eq!(remaining(90).as_deref(), Some("0"));
    time.set(START + 3_600 + 57);
    assert_eq!(remaining(100).as_deref(), Some("0"));
}

#[test]
fn a_stop_or_another_policy_gives_back_what_it_kills() {
    let authority = authority();
    let request = pay(100);
    let answer = ask(&authority, &request);
    let stop = now(authority.stop(StopScope::agent("bot").unwrap(), "an alarm", None));
    assert!(!verify(&authority, &request, &answer));
    now(authority.lift_stop(&stop.id, "over"));
    let answer = ask(&authority, &request);
    assert!(answer.decision.is_allow());
    // What was spent counts under the policy's new limit.
    assert!(verify(&authority, &request, &answer));
    let raised = POLICIES.replace("amount 100/hour", "amount 150/hour");
    now(authority.replace_policies(Policies::parse(&raised).unwrap()));
    assert_eq!(
        left(&ask(&authority, &pay(50)))["amount 150/hour per agent"],
        "0"
    );
}

#[test]
fn a_permit_that_a_stop_or_a_revocation_of_many_ends_gives_back_at_once() {
    let authority = authority();
    type End = fn(&LocalAuthority);
    let ends: [End; 3] = [
        |authority| {
            let stop = now(authority.stop(StopScope::agent("bot").unwrap(), "an alarm", None));
            now(authority.lift_stop(&stop.id, "over"));
        },
        |authority| {
            now(authority.revoke_all(StopScope::all(), "a leak"));
        },
        |authority| {
            now(authority.revoke_issued_before(99, "a leak"));
        },
    ];
    let other = ask(&authority, &pay_by("other", 7));
    let key = "amount 100/hour per agent";
    for end in ends {
        // Two permits, so that the count of calls would also run out.
        assert_eq!(left(&ask(&authority, &pay(60)))[key], "40");
        assert_eq!(left(&ask(&authority, &pay(40)))[key], "0");
        end(&authority);
        let page = now(authority.permits(&PermitFilter::default().agent("bot"), u64::MAX, 9));
        let is_revoked = |permit: &PermitInfo| permit.status == PermitStatus::Revoked;
        assert!(page.permits.iter().all(is_revoked), "{page:?}");
    }
    assert!(ask(&authority, &pay(100)).decision.is_allow());
    assert!(
        !verify(&authority, &pay_by("other", 7), &other),
        "all were revoked"
    );
}

#[test]
fn a_stop_finds_unused_permits_behind_any_number_of_used_ones() {
    let authority = authority();
    assert!(ask(&authority, &pay(100)).decision.is_allow());
    let look = AnyAction::new("look").unwrap();
    let look = EvaluateRequest::new(Agent::new("other").unwrap(), &look).unwrap();
    // More than are read at once.
    for _ in 0..510 {
        let answer = ask(&authority, &look);
        assert!(verify(&authority, &look, &answer));
    }
    now(authority.revoke_all(StopScope::agent("bot").unwrap(), "a leak"));
    assert!(ask(&authority, &pay(100)).decision.is_allow());
}

#[test]
fn a_request_for_more_than_a_whole_budget_waits_for_nobody() {
    let authority = authority();
    let vault = |amount: f64, shadow: bool| {
        let vault = AnyAction::new("pay").unwrap().with_resource("vault");
        let vault = vault.with_field("amount", &amount).unwrap();
        let mut vault = EvaluateRequest::new(Agent::new("bot").unwrap(), &vault).unwrap();
        vault.shadow = shadow.then_some(true);
        ask(&authority, &vault)
    };
    for shadow in [true, false] {
        let denied = vault(100.1, shadow);
        assert_eq!(
            denied.code.as_deref(),
            Some("BUDGET_EXCEEDED"),
            "{denied:?}"
        );
        assert_eq!(
            (denied.retry_after, denied.escalation_id.clone()),
            (None, None)
        );
        assert_eq!(left(&denied)["amount 100/hour per agent"], "100");
    }
    ask(&authority, &pay(50));
    // It fits later.
    assert_eq!(vault(100.0, false).decision, Decision::Hold);
}

#[test]
fn a_held_request_takes_its_amount_when_it_is_released() {
    let authority = authority();
    let vault = AnyAction::new("pay").unwrap().with_resource("vault");
    let vault = vault.with_field("amount", &60).unwrap();
    let held = EvaluateRequest::new(Agent::new("bot").unwrap(), &vault).unwrap();
    let approve = || {
        let answer = ask(&authority, &held);
        assert_eq!(answer.decision, Decision::Hold);
        let id = answer.escalation_id.unwrap().parse().unwrap();
        let sre = Approver::new("alice", ["sre"]).unwrap();
        now(authority.vote(id, Ballot::approve(sre)));
    };
    approve();
    let other = ask(&authority, &pay(50));
    assert_eq!(left(&other)["amount 100/hour per agent"], "50");
    // The release does not fit, and stays for the next request.
    assert_eq!(
        ask(&authority, &held).code.as_deref(),
        Some("BUDGET_EXCEEDED")
    );
    now(authority.revoke(other.permit_token.as_ref().unwrap(), "why"));
    let released = ask(&authority, &held);
    assert_eq!(left(&released)["amount 100/hour per agent"], "40");
    assert!(verify(&authority, &held, &released));
    approve();
    assert_eq!(
        ask(&authority, &held).code.as_deref(),
        Some("BUDGET_EXCEEDED")
    );
}

#[test]
fn a_permit_tells_what_is_left_and_a_body_beyond_the_budget_does_not_run() {
    let (authority, ran) = (authority(), Ran::new());
    let pay = |amount: u64| {
        let action = AnyAction::new("pay")
            .unwrap()
            .with_field("amount", &amount)
            .unwrap();
        authority.with_permit("bot", action, |permit| {
            ran.hit();
            let left = permit.budgets()[0].remaining.clone();
            assert_eq!(permit.record().budgets, permit.budgets());
            async move { Ok::<_, Error>(left) }
        })
    };
    assert_eq!(now(pay(60)), "40");
    let error = refusal(pay(60));
    assert_eq!(error.denied().unwrap().code(), Some("BUDGET_EXCEEDED"));
    assert_eq!(now(pay(40)), "0");
    assert_eq!(ran.count(), 2);
}

#[test]
fn the_chain_records_what_an_allow_takes() {
    let authority = authority();
    ask(&authority, &pay(60));
    ask(&authority, &pay(60));
    let events = now(authority.events(0, 100, &EventFilter::default()));
    let recorded: Vec<_> = events
        .iter()
        .filter(|event| event.payload.as_str().contains("budget"))
        .map(|event| (&*event.envelope.kind, event.payload.as_str()))
        .collect();
    assert_eq!(recorded.len(), 2);
    let taken =
        r#""budgets":["pay: 60 of amount 100/hour per agent","pay: 1 of calls 5/hour per agent"]"#;
    assert_eq!(recorded[0].0, "evaluate.allow");
    assert!(recorded[0].1.contains(taken), "{}", recorded[0].1);
    assert_eq!(recorded[1].0, "evaluate.deny");
    assert!(!recorded[1].1.contains(r#""budgets""#), "{}", recorded[1].1);
}

/// One step: who asks for how much, after how long, and what becomes of which earlier permit.
#[derive(Clone, Copy, Debug)]
struct Step {
    agent: usize,
    amount: u64,
    wait: i64,
    place: usize,
    fate: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..3, 0u64..70, 0i64..200, 0usize..8, 0u8..4).prop_map(
        |(agent, amount, wait, place, fate)| Step {
            agent,
            amount,
            wait,
            place,
            fate,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_series_of_steps_runs_more_in_a_window_than_the_budget(steps in vec(step(), 1..60)) {
        const AGENTS: [&str; 3] = ["a", "b", "c"];
        const WINDOW: i64 = 3_600;
        let (time, mut at) = (Time::default(), START);
        time.set(at);
        let authority = authority_at(&time);
        let mut open: Vec<(usize, i64, EvaluateRequest, Evaluation)> = Vec::new();
        let mut run: Vec<(usize, i64, u64)> = Vec::new();
        for Step { agent, amount, wait, place, fate } in steps {
            at += wait;
            time.set(at);
            let request = pay_by(AGENTS[agent], amount);
            let answer = ask(&authority, &request);
            let amount_of = |request: &EvaluateRequest| request.context.get("amount").unwrap().as_u64().unwrap();
            if answer.decision.is_allow() {
                open.push((agent, at, request, answer));
            } else {
                // Only permits that may still be used, and those used lately, are in the way.
                let waiting = open.iter().filter(|(by, issued, ..)| *by == agent && at <= issued + 64 + 1);
                let lately = run.iter().filter(|(by, used, _)| *by == agent && at <= used + WINDOW + 57);
                let calls = waiting.clone().count() + lately.clone().count();
                let sum: u64 = waiting.map(|(.., request, _)| amount_of(request)).sum::<u64>()
                    + lately.map(|(.., amount)| *amount).sum::<u64>();
                prop_assert!(sum + amount > 100 || calls + 1 > 5, "{answer:?}");
            }
            if !open.is_empty() && fate > 0 {
                let (by, _, request, answer) = open.remove(place % open.len());
                match fate {
                    1 | 2 => if verify(&authority, &request, &answer) {
                        run.push((by, at, amount_of(&request)));
                    },
                    _ => drop(now(authority.revoke(answer.permit_token.as_ref().unwrap(), "why"))),
                }
            }
            for by in 0..AGENTS.len() {
                let inside = run.iter().filter(|(who, used, _)| *who == by && at - used < WINDOW);
                prop_assert!(inside.clone().count() <= 5);
                prop_assert!(inside.map(|(.., amount)| amount).sum::<u64>() <= 100);
            }
        }
    }
}
