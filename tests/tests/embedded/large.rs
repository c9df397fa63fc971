//! Tests that what waits for approvers is bounded: what they read of one request, pages, and the
//! events of decisions that are opened by hand.

use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context, Decision};
use atlasent_authority::approvals::{
    ApprovalError, ApprovalFilter, ApprovalPage, Approver, Ballot, NewApproval,
};
use atlasent_authority::policy::{ApprovalRule, Approvers};
use atlasent_authority::store::ApprovalList;
use atlasent_authority::{LocalAuthority, MemoryStore, Policies, StorageLimit};

use crate::approvals::ask;
use crate::support::{now, now_blocking};

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @approval_grants("1h") forbid (principal, action, resource);
"#;

/// The limit of what approvers see of one request, in bytes.
const MOST: usize = 65_536;

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap()
}

/// Returns a request of which approvers see `bytes` bytes.
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

/// Reads a list from page to page. Returns the pages.
fn pages(authority: &LocalAuthority, filter: &ApprovalFilter, limit: usize) -> Vec<ApprovalPage> {
    let (mut pages, mut before) = (Vec::new(), u64::MAX);
    loop {
        let page = now_blocking(authority.approvals_page(filter, before, limit));
        let next = page.next;
        pages.push(page);
        match next {
            Some(next) => {
                assert!(next < before, "the pages do not go on");
                before = next;
            }
            None => return pages,
        }
    }
}

#[test]
fn a_page_ends_before_it_is_too_large_and_the_next_one_goes_on() {
    let authority = authority();
    let text = "x".repeat(60_000);
    let mut opened: Vec<_> = (0..20)
        .map(|_| now(authority.request_approval(by_hand("bot", &text))).id)
        .collect();
    opened.reverse();
    let found = pages(&authority, &ApprovalFilter::default(), 500);
    assert!(found.len() > 1);
    for page in &found {
        let bytes: usize = (page.approvals.iter())
            .map(|row| row.shown.as_str().unwrap().len())
            .sum();
        assert!(
            bytes <= 300_000,
            "{bytes} bytes are shown twice in an answer"
        );
    }
    let ids = found.iter().flat_map(|page| &page.approvals);
    let ids: Vec<_> = ids.map(|row| row.id).collect();
    assert_eq!(ids, opened, "each decision is in one page");
}

#[test]
fn a_filter_that_passes_little_reads_a_bounded_number_for_a_page() {
    let builder = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
    let authority = now(builder
        .store(MemoryStore::with_limits(10_000, 10_000))
        .build());
    let first = now(authority.request_approval(by_hand("first", ""))).id;
    for number in 0..4_500 {
        now(authority.request_approval(by_hand(&format!("bot {number}"), "")));
    }
    let filter = ApprovalFilter::default().agent("first");
    let found = pages(&authority, &filter, 50);
    let counts: Vec<_> = found.iter().map(|page| page.approvals.len()).collect();
    assert_eq!(counts, [0, 0, 1]);
    assert_eq!(found[2].approvals[0].id, first);
    // What passes the filter comes in full pages.
    let all = pages(&authority, &ApprovalFilter::default(), 50);
    assert_eq!(all.len(), 4_501_usize.div_ceil(50));
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

#[test]
fn names_of_a_decision_that_is_opened_by_hand_have_the_limits_of_a_request() {
    let authority = authority();
    for (name, most) in [
        ("action_type", 256),
        ("resource_id", 512),
        ("environment", 256),
    ] {
        let open = |length: usize| {
            let proposed = format!(r#"{{"{name}":"{}"}}"#, "ä".repeat(length));
            let proposed = Context::parse(&proposed).unwrap();
            let agent = Agent::new("bot").unwrap();
            let new = NewApproval::new(agent, "why", proposed, ApprovalRule::new("by hand"));
            futures_executor::block_on(authority.request_approval(new))
        };
        open(most).unwrap();
        let error = open(most + 1).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`proposed_action.{name}`")),
            "{error}"
        );
    }
}
