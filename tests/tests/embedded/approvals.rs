//! Tests that people release holds, and that nothing else does.

mod times;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::wire::{EvaluateRequest, Evaluation, RequestOptions, StopScope, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority, Decision};
use atlasent_authority::approvals::{
    ApprovalError, ApprovalState, Approver, Ballot, EscalationId, VoteRefusal,
};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, LocalAuthorityBuilder, Policies};
use jiff::Timestamp;

use crate::support::now;

/// A change between the approval and the next request, and the code of the denial.
type Change = (&'static str, fn(&LocalAuthority), Option<&'static str>);

pub(crate) const HOLDS: &str = r#"
    permit (principal, action, resource);
    @id("four-eyes") @decision("hold") @reason("a release needs two people")
    @approvers("role:sre") @quorum("2") @approval_ttl("100s") @redact("token")
    forbid (principal, action == Action::"deploy", resource) unless { context.urgency == "low" };
    @id("never") forbid (principal, action, resource == Resource::"vault");
"#;

/// A clock that tests set.
#[derive(Clone, Default)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

fn builder_at(clock: &TestClock) -> LocalAuthorityBuilder {
    builder_of(HOLDS, clock)
}

fn builder_of(policies: &str, clock: &TestClock) -> LocalAuthorityBuilder {
    let seconds = Arc::clone(&clock.0);
    LocalAuthority::builder(Policies::parse(policies).unwrap())
        .clock(move || {
            Timestamp::from_second(1_800_000_000 + seconds.load(Ordering::SeqCst)).unwrap()
        })
        .approval_url("https://approve.example/{id}")
}

fn authority_at(clock: &TestClock) -> LocalAuthority {
    now(builder_at(clock).build())
}

fn authority() -> LocalAuthority {
    authority_at(&TestClock::default())
}

pub(crate) fn request(commit: &str) -> EvaluateRequest {
    let action = AnyAction::new("deploy").unwrap();
    let action = action.with_field("commit", commit).unwrap();
    let action = action.with_field("token", "secret-token").unwrap();
    let action = action.with_field("urgency", "high").unwrap();
    EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
}

pub(crate) fn ask(authority: &LocalAuthority, request: &EvaluateRequest) -> Evaluation {
    now(authority.evaluate(request))
}

/// Asks, and returns the id of the pending decision.
fn held(authority: &LocalAuthority, request: &EvaluateRequest) -> EscalationId {
    let answer = ask(authority, request);
    assert_eq!(answer.decision, Decision::Hold, "{answer:?}");
    assert!(answer.permit_token.is_none());
    let id = answer.escalation_id.unwrap();
    assert_eq!(
        answer.approval_url,
        Some(format!("https://approve.example/{id}"))
    );
    id.parse().unwrap()
}

fn sre(name: &str) -> Approver {
    Approver::new(name, ["sre"]).unwrap()
}

pub(crate) fn approve(authority: &LocalAuthority, id: EscalationId) {
    for name in ["alice", "bob"] {
        now(authority.vote(id, Ballot::approve(sre(name)).note("fine")));
    }
}

fn state(authority: &LocalAuthority, id: EscalationId) -> ApprovalState {
    now(authority.approval(id)).unwrap().state
}

fn kinds(authority: &LocalAuthority) -> Vec<String> {
    let events = now(authority.events(0, 100, &EventFilter::default()));
    events
        .into_iter()
        .map(|event| event.envelope.kind)
        .collect()
}

#[test]
fn two_approvals_release_the_same_question_once() {
    let authority = authority();
    let id = held(&authority, &request("4f2a"));
    assert_eq!(
        held(&authority, &request("4f2a")),
        id,
        "the same question joins"
    );
    assert_ne!(
        held(&authority, &request("ffff")),
        id,
        "another question does not"
    );

    now(authority.vote(id, Ballot::approve(sre("alice"))));
    assert_eq!(
        held(&authority, &request("4f2a")),
        id,
        "one approval is not enough"
    );
    now(authority.vote(id, Ballot::approve(sre("bob"))));
    assert_eq!(ask(&authority, &request("ffff")).decision, Decision::Hold);
    let released = ask(&authority, &request("4f2a"));
    assert_eq!(released.decision, Decision::Allow);
    assert_eq!(released.escalation_id, Some(id.to_string()));

    let verify = VerifyRequest::restating(&request("4f2a"), released.permit_token.unwrap());
    let verified = now(authority.verify(&verify));
    assert!(verified.valid, "{verified:?}");
    let reviewers: Vec<_> = verified
        .approvals()
        .into_iter()
        .map(|by| by.reviewer_id)
        .collect();
    assert_eq!(reviewers, ["alice", "bob"]);

    assert_ne!(
        held(&authority, &request("4f2a")),
        id,
        "it is good for one use"
    );
    assert!(now(authority.trail()).verify().is_intact());
    assert_eq!(
        kinds(&authority)[..6],
        [
            "policy.loaded",
            "evaluate.hold",
            "approval.requested",
            "evaluate.hold",
            "evaluate.hold",
            "approval.requested",
        ]
    );
    let votes = [
        "approval.voted",
        "evaluate.hold",
        "approval.voted",
        "approval.granted",
        "evaluate.hold",
        "evaluate.allow",
        "permit.verified",
    ];
    assert_eq!(kinds(&authority)[6..13], votes);
}

#[test]
fn an_approver_sees_the_action_without_what_the_policy_redacts() {
    let authority = authority();
    let row = now(authority.approval(held(&authority, &request("4f2a")))).unwrap();
    let shown = row.shown.as_str().unwrap();
    assert!(shown.contains("4f2a"), "{shown}");
    assert!(!shown.contains("secret-token"), "{shown}");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(shown);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(row.shown_hash, hex);
    let stored = serde_json::to_string(&row).unwrap();
    assert!(!stored.contains("secret-token"), "{stored}");
    // The action is bound to what was hidden, too.
    let mut other = AnyAction::new("deploy").unwrap();
    for (key, value) in [
        ("commit", "4f2a"),
        ("token", "another"),
        ("urgency", "high"),
    ] {
        other = other.with_field(key, value).unwrap();
    }
    let other = EvaluateRequest::new(Agent::new("bot").unwrap(), &other).unwrap();
    assert_ne!(held(&authority, &other), row.id);
}

#[test]
fn an_approval_lifts_the_hold_and_nothing_else() {
    let between: [Change; 4] = [
        (
            "a stop",
            |authority| drop(now(authority.stop(StopScope::all(), "an alarm", None))),
            Some("STOPPED"),
        ),
        (
            "a forbid",
            |authority| {
                let more = format!("{HOLDS} @code(\"NO\") forbid (principal, action, resource);");
                now(authority.replace_policies(Policies::parse(&more).unwrap()));
            },
            Some("NO"),
        ),
        (
            "no permit",
            |authority| {
                let less = HOLDS.replace("permit (principal, action, resource);", "");
                now(authority.replace_policies(Policies::parse(&less).unwrap()));
            },
            None,
        ),
        (
            "another quorum",
            |authority| {
                let more = HOLDS.replace("@quorum(\"2\")", "@quorum(\"3\")");
                now(authority.replace_policies(Policies::parse(&more).unwrap()));
            },
            None,
        ),
    ];
    for (name, change, code) in between {
        let authority = authority();
        let id = held(&authority, &request("4f2a"));
        approve(&authority, id);
        change(&authority);
        let answer = ask(&authority, &request("4f2a"));
        assert!(!answer.decision.is_allow(), "{name}: {answer:?}");
        assert!(answer.permit_token.is_none(), "{name}");
        if code.is_some() {
            assert_eq!(answer.code.as_deref(), code, "{name}");
        }
        assert_ne!(answer.escalation_id, Some(id.to_string()), "{name}");
    }
}

#[test]
fn changed_policies_end_a_pending_decision() {
    let authority = authority();
    let id = held(&authority, &request("4f2a"));
    now(authority.vote(id, Ballot::approve(sre("alice"))));
    let more = HOLDS.replace("two people", "two other people");
    now(authority.replace_policies(Policies::parse(&more).unwrap()));
    let late = now_err(authority.vote(id, Ballot::approve(sre("bob"))));
    assert!(matches!(
        late,
        ApprovalError::Refused(VoteRefusal::Closed(ApprovalState::TimedOut))
    ));
    assert_eq!(state(&authority, id), ApprovalState::TimedOut);
    let new = held(&authority, &request("4f2a"));
    assert_ne!(new, id);
    assert!(now(authority.approval(new)).unwrap().votes.is_empty());
}

#[test]
fn a_rejection_stands_for_the_same_question() {
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    let id = held(&authority, &request("4f2a"));
    now(authority.vote(id, Ballot::reject(sre("alice")).note("not today")));
    let answer = ask(&authority, &request("4f2a"));
    assert_eq!(answer.decision, Decision::Deny);
    assert_eq!(answer.code.as_deref(), Some("APPROVAL_REJECTED"));
    assert_eq!(
        answer.reason.as_deref(),
        Some("rejected by `alice`: not today")
    );
    assert_eq!(answer.escalation_id, Some(id.to_string()));
    assert_ne!(held(&authority, &request("ffff")), id);
    clock.set(101);
    assert_ne!(
        held(&authority, &request("4f2a")),
        id,
        "after its time, it is a new question"
    );
}

#[test]
fn a_hold_that_no_permit_follows_waits_for_nobody() {
    let text = r#"@decision("hold") forbid (principal, action, resource);"#;
    let authority = LocalAuthority::in_memory(Policies::parse(text).unwrap()).unwrap();
    let answer = ask(&authority, &request("4f2a"));
    assert_eq!(
        (answer.decision, answer.escalation_id),
        (Decision::Hold, None)
    );
}

#[test]
fn a_request_that_asks_for_an_approval_gets_one_where_no_policy_holds_it() {
    let text = "permit (principal, action, resource);";
    let authority = LocalAuthority::in_memory(Policies::parse(text).unwrap()).unwrap();
    let asks = request("4f2a").with_options(RequestOptions::default().require_approval(true));
    let answer = ask(&authority, &asks);
    assert_eq!(answer.decision, Decision::Hold);
    let id: EscalationId = answer.escalation_id.unwrap().parse().unwrap();
    now(authority.vote(id, Ballot::approve(sre("alice"))));
    let released = ask(&authority, &asks);
    let verify = VerifyRequest::restating(&asks, released.permit_token.unwrap());
    assert!(now(authority.verify(&verify)).valid);
}

#[test]
fn a_repeated_request_gets_the_released_permit_again() {
    let authority = authority();
    let asks = request("4f2a").with_options(RequestOptions::default().request_id("r1"));
    let id = held(&authority, &asks);
    approve(&authority, id);
    let first = ask(&authority, &asks);
    let again = ask(&authority, &asks);
    assert_eq!(first.permit_token, again.permit_token);
    assert!(first.permit_token.is_some());
    assert_eq!(kinds(&authority).last().unwrap(), "evaluate.replayed");
}

#[test]
fn shadow_requests_neither_open_nor_use_a_decision() {
    let authority = authority();
    let mut shadow = request("4f2a");
    shadow.shadow = Some(true);
    assert_eq!(ask(&authority, &shadow).escalation_id, None);
    let id = held(&authority, &request("4f2a"));
    approve(&authority, id);
    assert!(ask(&authority, &shadow).permit_token.is_none());
    assert!(ask(&authority, &request("4f2a")).permit_token.is_some());
}

#[test]
fn an_agent_cannot_flood_the_approvers() {
    let builder = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
    let builder = builder.approvals_per_agent(2.try_into().unwrap());
    let authority = now(builder.max_approvals(3.try_into().unwrap()).build());
    let ask_as = |agent: &str, commit: &str| {
        let mut request = request(commit);
        request.actor_id = Agent::new(agent).unwrap();
        ask(&authority, &request)
    };
    let ids: Vec<_> = ["1", "2"]
        .map(|commit| ask_as("bot", commit).escalation_id.unwrap())
        .into();
    let refused = ask_as("bot", "3");
    assert_eq!(refused.decision, Decision::Deny);
    assert_eq!(refused.code.as_deref(), Some("APPROVAL_LIMIT"));
    assert_eq!(
        ask_as("bot", "1").escalation_id.as_ref(),
        ids.first(),
        "joining is no new one"
    );
    assert!(ask_as("other", "3").escalation_id.is_some());
    assert_eq!(ask_as("third", "3").code.as_deref(), Some("APPROVAL_LIMIT"));
    now(authority.vote(ids[0].parse().unwrap(), Ballot::reject(sre("alice"))));
    assert!(
        ask_as("bot", "3").escalation_id.is_some(),
        "a decided one makes room"
    );
}

#[test]
fn the_remembered_decisions_of_an_agent_are_bounded() {
    let clock = TestClock::default();
    let builder = builder_at(&clock).approvals_per_agent(2.try_into().unwrap());
    let authority = now(builder.build());
    let commits: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    for commit in &commits {
        let id = held(&authority, &request(commit));
        now(authority.vote(id, Ballot::reject(sre("alice"))));
    }
    let refused = ask(&authority, &request("another"));
    assert_eq!(refused.code.as_deref(), Some("APPROVAL_LIMIT"));
    for commit in &commits {
        let rejected = ask(&authority, &request(commit));
        assert_eq!(rejected.code.as_deref(), Some("APPROVAL_REJECTED"));
    }
    // The time of the rejections is over.
    clock.set(100);
    held(&authority, &request("another"));
}

#[test]
fn of_many_askers_one_gets_the_permit() {
    let authority = Arc::new(authority());
    let id = held(&authority, &request("4f2a"));
    approve(&authority, id);
    let threads: Vec<_> = (0..64)
        .map(|_| {
            let authority = Arc::clone(&authority);
            std::thread::spawn(move || {
                let answer = futures_executor::block_on(authority.evaluate(&request("4f2a")));
                answer.unwrap().permit_token.is_some()
            })
        })
        .collect();
    let permits = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(permits.filter(|has_permit| *has_permit).count(), 1);
}

#[test]
fn an_approval_for_any_context_releases_so_many_permits_of_the_same_action() {
    let policies = HOLDS.replace("@quorum(\"2\")", "@approval_grants(\"1h\")");
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    now(authority.replace_policies(Policies::parse(&policies).unwrap()));
    let id = held(&authority, &request("1"));
    let ballot = Ballot::approve(sre("alice")).for_any_context(Duration::from_secs(1_000), 3);
    now(authority.vote(id, ballot));
    let mut elsewhere = request("2");
    elsewhere.resource_id = Some("other".to_owned());
    assert!(
        ask(&authority, &elsewhere).permit_token.is_none(),
        "another resource"
    );
    let mut other = request("2");
    other.actor_id = Agent::new("other").unwrap();
    assert!(
        ask(&authority, &other).permit_token.is_none(),
        "another agent"
    );
    let tokens: Vec<_> = ["1", "2", "3"]
        .map(|commit| ask(&authority, &request(commit)).permit_token.unwrap())
        .into();
    assert_ne!(tokens[0], tokens[1]);
    assert!(
        ask(&authority, &request("4")).permit_token.is_none(),
        "the uses are used up"
    );
}

/// Two policies hold; the approvers of the second become those of the first by an escalation.
const OVERLAPPING: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @approvers("role:sre") forbid (principal, action, resource);
    @decision("hold") @approvers("role:lead") @escalate_to("role:sre") @approval_ttl("20s")
    forbid (principal, action, resource);
"#;

#[test]
fn an_escalation_that_makes_the_votes_enough_closes_the_decision() {
    let clock = TestClock::default();
    for by_hand in [true, false] {
        clock.set(0);
        let authority = now(builder_of(OVERLAPPING, &clock).build());
        let id = held(&authority, &request("4f2a"));
        now(authority.vote(id, Ballot::approve(sre("alice"))));
        assert_eq!(state(&authority, id), ApprovalState::Pending);
        clock.set(20);
        if by_hand {
            clock.set(19);
            let lead = Approver::new("eve", ["lead"]).unwrap();
            now(authority.escalate_approval(id, &lead, None));
            assert_eq!(state(&authority, id), ApprovalState::Approved);
        }
        assert_eq!(ask(&authority, &request("4f2a")).decision, Decision::Allow);
        let kinds = kinds(&authority);
        let closing = ["approval.requested", "approval.granted"].map(str::to_owned);
        assert!(kinds.windows(2).any(|pair| pair == closing), "{kinds:?}");
    }
}

fn now_err<T: std::fmt::Debug>(
    future: impl Future<Output = Result<T, ApprovalError>>,
) -> ApprovalError {
    futures_executor::block_on(future).unwrap_err()
}
