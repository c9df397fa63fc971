//! Tests that what waits for approvers is bounded: what they read of one request, and the events of
//! decisions that are opened by hand.

use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context, Decision};
use atlasent_authority::approvals::{ApprovalError, Approver, Ballot, NewApproval};
use atlasent_authority::policy::{ApprovalRule, Approvers};
use atlasent_authority::store::ApprovalList;
use atlasent_authority::{LocalAuthority, Policies, StorageLimit};

use crate::approvals::ask;
use crate::support::now;

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @approval_grants("1h") forbid (principal, action, resource);
"#;

/// The limit of what approvers see of one request, in bytes.
const MOST: usize = 65_536;

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap()
}

/// Returns a request of which approvers see so many bytes.
fn request_of(bytes: usize) -> EvaluateRequest {
    let build = |padding: usize| {
        let action = AnyAction::new("deploy").unwrap();
        let action = action.with_field("text", &"x".repeat(padding)).unwrap();
        EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
    };
    let shown = r#"{"action_type":"deploy","actor_id":"bot","context":{"text":""}}"#;
    build(bytes - shown.len())
}

#[test]
fn a_request_with_more_than_approvers_read_is_denied_and_not_kept() {
    let authority = authority();
    let fits = ask(&authority, &request_of(MOST));
    assert_eq!(fits.decision, Decision::Hold);
    let too_large = ask(&authority, &request_of(MOST + 1));
    assert_eq!(too_large.decision, Decision::Deny);
    assert_eq!(too_large.code.as_deref(), Some("APPROVAL_TOO_LARGE"));
    let reason = too_large.reason.unwrap();
    assert!(reason.contains("65537 bytes"), "{reason}");
    assert_eq!(
        (too_large.escalation_id, too_large.permit_token),
        (None, None)
    );
    let open = now(authority.approvals(ApprovalList::Open, u64::MAX, 9));
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].shown.as_str().unwrap().len(), MOST);
}

#[test]
fn an_approval_for_any_context_also_releases_a_large_one() {
    let authority = authority();
    let held = ask(&authority, &request_of(200)).escalation_id.unwrap();
    let alice = Approver::new("alice", ["sre"]).unwrap();
    let ballot = Ballot::approve(alice).for_any_context(Duration::from_secs(60), 2);
    now(authority.vote(held.parse().unwrap(), ballot));
    assert_eq!(
        ask(&authority, &request_of(MOST + 1)).decision,
        Decision::Allow
    );
    assert_eq!(
        ask(&authority, &request_of(MOST + 1)).decision,
        Decision::Allow
    );
    let code = ask(&authority, &request_of(MOST + 1)).code;
    assert_eq!(code.as_deref(), Some("APPROVAL_TOO_LARGE"));
}

/// Returns a decision to be opened by hand, whose proposed action has a text.
fn by_hand(agent: &str, text: &str) -> NewApproval {
    let mut rule = ApprovalRule::new("by hand");
    rule.approvers = Approvers::parse("user:alice").unwrap();
    let proposed = format!(r#"{{"action_type":"wipe","text":"{text}"}}"#);
    let proposed = Context::parse(&proposed).unwrap();
    NewApproval::new(Agent::new(agent).unwrap(), "why", proposed, rule)
}

#[test]
fn no_decision_is_opened_by_hand_while_the_store_holds_too_many_events() {
    let builder = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
    let authority = now(builder.max_events(2.try_into().unwrap()).build());
    now(authority.request_approval(by_hand("bot", "")));
    let refused = futures_executor::block_on(authority.request_approval(by_hand("bot", "")));
    let Err(ApprovalError::Failed(error)) = refused else {
        panic!("{refused:?}")
    };
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<StorageLimit>(), "{error}");
    assert_eq!(
        now(authority.approvals(ApprovalList::Open, u64::MAX, 9)).len(),
        1
    );
}
