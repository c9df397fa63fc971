//! Tests that a chain with contexts has no value that the policy of a hold redacts.

use atlasent::audit::Event;
use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Decision};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};

use crate::approvals::ask;
use crate::support::now;

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @redact("card, amount")
    forbid (principal, action, resource) when { context.cost > 10 };
"#;

fn authority() -> LocalAuthority {
    let builder = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
    now(builder.record_context(true).build())
}

fn request(cost: i64) -> EvaluateRequest {
    let action = AnyAction::new("pay").unwrap();
    let action = action.with_field("card", "4111-secret").unwrap();
    let action = action.with_field("cost", &cost).unwrap();
    let mut options = RequestOptions::default();
    options.amount = Some(serde_json::from_str("77.25").unwrap());
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    request.with_options(options)
}

/// Returns the last event with a decision.
fn recorded(authority: &LocalAuthority) -> Event {
    let filter = EventFilter::default().types(["evaluate.hold", "evaluate.allow", "evaluate.deny"]);
    now(authority.events(0, 99, &filter)).pop().unwrap()
}

fn text(event: &Event, name: &str) -> Option<String> {
    event.payload.text(name).map(std::borrow::Cow::into_owned)
}

#[test]
fn the_event_of_a_held_request_has_no_redacted_value_however_it_ends() {
    let authority = authority();
    let held = ask(&authority, &request(50));
    assert_eq!(held.decision, Decision::Hold);
    let of_hold = recorded(&authority);
    let id = held.escalation_id.unwrap().parse().unwrap();
    let alice = Approver::new("alice", ["sre"]).unwrap();
    now(authority.vote(id, Ballot::approve(alice)));
    assert_eq!(ask(&authority, &request(50)).decision, Decision::Allow);
    for event in [of_hold, recorded(&authority)] {
        let context = text(&event, "context").unwrap();
        assert_eq!(context, r#"{"card":"[redacted]","cost":50}"#);
        assert_eq!(text(&event, "amount").as_deref(), Some("[redacted]"));
        let whole = request(50).context.canonical_digest();
        let whole: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            text(&event, "context_hash"),
            Some(whole),
            "the hash binds the values"
        );
    }
    let mut artifact = request(50);
    artifact.options.approval = Some(serde_json::json!({"artifact": {}}));
    let denied = ask(&authority, &artifact);
    assert_eq!(denied.code.as_deref(), Some("APPROVAL_ARTIFACT_INVALID"));
    let all = now(authority.trail());
    let all = serde_json::to_string(&all.events).unwrap();
    assert!(!all.contains("4111") && !all.contains("77.25"), "{all}");
}

#[test]
fn a_budget_records_no_amount_that_a_policy_redacts() {
    let policies = r#"
        @id("pay") @budget("amount 100/day per agent, order.cost 900/day per agent, cost 900/day per agent")
        permit (principal, action, resource);
        @decision("hold") @redact("amount, order")
        forbid (principal, action, resource) when { context.cost > 10 };
    "#;
    let authority = LocalAuthority::in_memory(Policies::parse(policies).unwrap()).unwrap();
    let asked = |cost: i64| {
        let mut asked = request(cost);
        let order = serde_json::json!({"cost": 61.5});
        asked.context.insert("order", &order).unwrap();
        ask(&authority, &asked)
    };
    let id = asked(50).escalation_id.unwrap().parse().unwrap();
    let alice = Approver::new("alice", ["sre"]).unwrap();
    now(authority.vote(id, Ballot::approve(alice)));
    let allow = asked(50);
    assert_eq!(allow.budgets[0].remaining, "22.75", "the caller sees it");
    let denied = asked(3);
    assert_eq!(denied.code.as_deref(), Some("BUDGET_EXCEEDED"));
    let reason = denied.reason.unwrap();
    assert!(
        reason.ends_with("of which 22.75 is left, and the request needs 77.25"),
        "{reason}"
    );
    let all = now(authority.trail());
    let all = serde_json::to_string(&all.events).unwrap();
    for told in [
        "pay: [redacted] of amount 100/day per agent",
        "pay: [redacted] of order.cost 900/day per agent",
        "pay: 50 of cost 900/day per agent",
        "of which less is left than the request needs",
    ] {
        assert!(all.contains(told), "{told}: {all}");
    }
    for hidden in ["77.25", "22.75", "61.5"] {
        assert!(!all.contains(hidden), "{hidden}: {all}");
    }
}

#[test]
fn a_request_that_no_policy_holds_is_recorded_whole() {
    let authority = authority();
    assert_eq!(ask(&authority, &request(1)).decision, Decision::Allow);
    let event = recorded(&authority);
    let context = text(&event, "context").unwrap();
    assert_eq!(context, r#"{"card":"4111-secret","cost":1}"#);
    assert_eq!(text(&event, "amount").as_deref(), Some("77.25"));
}
