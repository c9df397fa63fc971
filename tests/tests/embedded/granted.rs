//! Tests that an approval for any context releases what its approvers decided on, and nothing more.

use std::time::Duration;

use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, Decision};
use atlasent_authority::approvals::{Approver, Ballot, EscalationId};
use atlasent_authority::{LocalAuthority, Policies};

use crate::support::now;

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

fn person(name: &str, role: &str) -> Approver {
    Approver::new(name, [role]).unwrap()
}

/// Approves so many uses in any context.
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
