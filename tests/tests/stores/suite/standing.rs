//! A permit is checked again when it is used: policies, stops, revocations and the limit per agent.

use std::num::NonZeroU64;
use std::sync::Arc;

use atlasent::Authority;
use atlasent::wire::{PermitStatus, PermitToken, StopScope, Verification};
use atlasent_authority::permits::PermitFilter;
use atlasent_authority::store::Store;
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies, Stop};
use jiff::SignedDuration;

use super::replays::{ALICE, ask, named};
use crate::media::Medium;
use crate::support::{Time, at, crowd, intact, permit_all, question, request_of, token};

const OPEN: &str = r#"permit (principal, action, resource);"#;
const SHUT: &str = r#"permit (principal, action, resource);
    forbid (principal, action == Action::"deploy", resource);"#;
/// Policies without a rule for `deploy`.
const ELSEWHERE: &str = r#"permit (principal, action, resource);
    forbid (principal, action == Action::"drop", resource);"#;

async fn policies<S: Store>(authority: &LocalAuthority<S>, text: &str) {
    let policies = Policies::parse(text).unwrap();
    authority.replace_policies(policies).await.unwrap();
}

async fn verified<S: Store>(authority: &LocalAuthority<S>, token: &PermitToken) -> Verification {
    authority.verify(&question(token)).await.unwrap()
}

/// Returns the code of the refusal, or `None` if the permit was valid.
async fn refusal<S: Store>(authority: &LocalAuthority<S>, token: &PermitToken) -> Option<String> {
    let verification = verified(authority, token).await;
    assert_eq!(verification.valid, verification.verify_error_code.is_none());
    verification.verify_error_code
}

/// Returns the code of the decision on `deploy`, or `None` if it was an allow.
async fn denial<S: Store>(authority: &LocalAuthority<S>) -> Option<String> {
    let evaluation = authority.evaluate(&request_of("deploy")).await.unwrap();
    assert_eq!(evaluation.decision.is_allow(), evaluation.code.is_none());
    assert_eq!(evaluation.permit_token.is_some(), evaluation.code.is_none());
    evaluation.code
}

async fn stop<S: Store>(authority: &LocalAuthority<S>, scope: StopScope) -> Stop {
    authority.stop(scope, "an alarm", None).await.unwrap()
}

fn code(code: &str) -> Option<String> {
    Some(code.to_owned())
}

pub(crate) async fn a_permit_does_not_outlive_the_policies_that_granted_it(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    let permit = token(&authority).await;
    policies(&authority, SHUT).await;
    assert_eq!(refusal(&authority, &permit).await, code("POLICY_CHANGED"));
    // The permit does not become valid again with the former policies.
    policies(&authority, OPEN).await;
    assert_eq!(refusal(&authority, &permit).await, code("PERMIT_REVOKED"));

    let permit = token(&authority).await;
    policies(&authority, ELSEWHERE).await;
    assert_eq!(refusal(&authority, &permit).await, None);
    intact(authority.store()).await;
}

pub(crate) async fn an_answer_does_not_outlive_the_policies_that_gave_it(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    let request = named("deploy", "1");
    let (first, _) = ask(&authority, ALICE, &request).await.unwrap();
    policies(&authority, SHUT).await;
    let (again, repeated) = ask(&authority, ALICE, &request).await.unwrap();
    assert!(!repeated && !again.decision.is_allow());
    policies(&authority, ELSEWHERE).await;
    let (again, repeated) = ask(&authority, ALICE, &request).await.unwrap();
    // The first permit was not presented meanwhile, and the policies of its action are
    // unchanged.
    assert!(repeated);
    assert_eq!(again.permit_token, first.permit_token);
}

pub(crate) async fn a_stop_denies_what_it_covers_and_nothing_else(medium: impl Medium) {
    for (scope, covers) in [
        (StopScope::agent("bot").unwrap(), true),
        (StopScope::agent("other").unwrap(), false),
        (StopScope::action("deploy").unwrap(), true),
        (StopScope::action("deploy.production").unwrap(), false),
        (StopScope::all(), true),
    ] {
        let authority = medium.authority(&Time::default()).await;
        let permit = token(&authority).await;
        let stop = stop(&authority, scope).await;
        assert_eq!(
            authority.stops().await.unwrap(),
            std::slice::from_ref(&stop)
        );
        let stopped = covers.then(|| "STOPPED".to_owned());
        assert_eq!(denial(&authority).await, stopped);
        assert_eq!(refusal(&authority, &permit).await, stopped);
        let lifted = authority.lift_stop(&stop.id, "over").await.unwrap();
        assert_eq!(lifted, Some(stop.clone()));
        assert_eq!(authority.lift_stop(&stop.id, "over").await.unwrap(), None);
        assert_eq!(denial(&authority).await, None);
        intact(authority.store()).await;
    }
}

pub(crate) async fn a_permit_that_was_out_stays_dead_after_the_stop(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let request = named("deploy", "1");
    let (first, _) = ask(&authority, ALICE, &request).await.unwrap();
    let [presented, kept] = [token(&authority).await, token(&authority).await];
    let stop = stop(&authority, StopScope::all()).await;
    assert_eq!(refusal(&authority, &presented).await, code("STOPPED"));
    authority.lift_stop(&stop.id, "over").await.unwrap();
    for permit in [presented, kept] {
        assert_eq!(refusal(&authority, &permit).await, code("STOPPED"));
    }
    // The answer to a repeated request does not make it valid again either.
    let (again, repeated) = ask(&authority, ALICE, &request).await.unwrap();
    assert!(!repeated && again.permit_token != first.permit_token);
    let token = again.permit_token.unwrap();
    assert_eq!(refusal(&authority, &token).await, None);
}

pub(crate) async fn a_stop_with_an_end_ends(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let end = Some(at(30));
    authority
        .stop(StopScope::all(), "a pause", end)
        .await
        .unwrap();
    time.set(29);
    let evaluation = authority.evaluate(&request_of("deploy")).await.unwrap();
    assert_eq!(evaluation.code.as_deref(), Some("STOPPED"));
    assert!(evaluation.retry_after.is_some());
    time.set(30);
    assert_eq!(denial(&authority).await, None);
    assert_eq!(authority.stops().await.unwrap(), []);
    let past = authority.stop(StopScope::all(), "too late", end).await;
    assert!(matches!(past, Err(atlasent::Error::Invalid(_))));
}

pub(crate) async fn of_evaluations_beside_a_stop_none_that_comes_after_it_is_allowed(
    medium: impl Medium,
) {
    let authority = Arc::new(medium.authority(&Time::default()).await);
    let outcomes = crowd(|number| {
        let authority = Arc::clone(&authority);
        async move {
            if number == 20 {
                stop(&authority, StopScope::all()).await;
                return;
            }
            let evaluation = authority.evaluate(&request_of("deploy")).await.unwrap();
            if let Some(token) = evaluation.permit_token {
                verified(&authority, &token).await;
            }
        }
    });
    outcomes.await;
    let store = authority.store();
    let events = store
        .events(0, usize::MAX, &EventFilter::default())
        .await
        .unwrap();
    let after_stop = events
        .iter()
        .skip_while(|event| event.kind != "stop.set")
        .skip(1);
    for event in after_stop {
        let refused = event.kind == "evaluate.deny" || event.kind == "permit.verify_failed";
        assert!(refused, "{}", event.kind);
    }
    intact(store).await;
}

pub(crate) async fn what_is_out_can_be_taken_back_by_agent_and_by_event(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    let revoked = code("PERMIT_REVOKED");
    let permit = token(&authority).await;
    let scope = StopScope::agent("other").unwrap();
    authority.revoke_all(scope, "not this one").await.unwrap();
    assert_eq!(refusal(&authority, &permit).await, None);

    let permit = token(&authority).await;
    let scope = StopScope::agent("bot").unwrap();
    let event = authority.revoke_all(scope, "its key leaked").await.unwrap();
    let later = token(&authority).await;
    assert_eq!(refusal(&authority, &permit).await, revoked);
    assert_eq!(refusal(&authority, &later).await, None);

    let (before, after) = (token(&authority).await, token(&authority).await);
    let all = PermitFilter::default();
    let page = authority.permits(&all, u64::MAX, 1).await.unwrap();
    assert_eq!(page.permits[0].status, PermitStatus::Issued);
    // The event that issued the second permit is the newest event.
    let newest = authority.store().status().await.unwrap().head.sequence;
    assert!(newest > event);
    authority
        .revoke_issued_before(newest, "a bad deploy")
        .await
        .unwrap();
    assert_eq!(refusal(&authority, &before).await, revoked);
    assert_eq!(refusal(&authority, &after).await, None);
}

pub(crate) async fn an_agent_with_too_many_permits_gets_no_more_and_others_do(medium: impl Medium) {
    let time = Time::default();
    let store = medium.open().await;
    let authority = LocalAuthority::builder(permit_all())
        .store(store)
        .clock(time.clone().clock())
        .permit_ttl(std::time::Duration::from_secs(60))
        .permits_per_agent(NonZeroU64::new(3).unwrap())
        .build()
        .await
        .unwrap();
    let permits = [
        token(&authority).await,
        token(&authority).await,
        token(&authority).await,
    ];
    let full = authority.evaluate(&request_of("deploy")).await.unwrap();
    assert_eq!(full.code.as_deref(), Some("AGENT_PERMIT_LIMIT"));
    let reason = full.reason.unwrap();
    assert!(reason.contains("`bot`") && reason.contains('3'), "{reason}");
    let mut other = request_of("deploy");
    other.actor_id = atlasent::Agent::new("other").unwrap();
    assert!(
        authority
            .evaluate(&other)
            .await
            .unwrap()
            .decision
            .is_allow()
    );

    // Using a permit, revoking one, and a failed verification for another agent each make room.
    assert_eq!(refusal(&authority, &permits[0]).await, None);
    assert_eq!(denial(&authority).await, None);
    assert_eq!(denial(&authority).await, code("AGENT_PERMIT_LIMIT"));
    assert!(authority.revoke(&permits[1], "why").await.unwrap().revoked);
    assert_eq!(denial(&authority).await, None);
    let mut burnt = question(&permits[2]);
    burnt.actor_id = atlasent::Agent::new("thief").ok();
    assert!(!authority.verify(&burnt).await.unwrap().valid);
    assert_eq!(denial(&authority).await, None);
    assert_eq!(denial(&authority).await, code("AGENT_PERMIT_LIMIT"));
    // So does the expiry of a permit.
    time.set(62);
    for _ in 0..3 {
        assert_eq!(denial(&authority).await, None);
    }
    assert_eq!(denial(&authority).await, code("AGENT_PERMIT_LIMIT"));
    intact(authority.store()).await;
}

pub(crate) async fn permits_are_listed_and_found_by_their_ids(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        time.set(number);
        let evaluation = authority.evaluate(&request_of("deploy")).await.unwrap();
        ids.push(evaluation.permit_id.unwrap());
        if number % 2 == 0 {
            let token = evaluation.permit_token.unwrap();
            assert!(verified(&authority, &token).await.valid);
        }
    }
    let (mut listed, mut before) = (Vec::new(), u64::MAX);
    loop {
        let all = PermitFilter::default();
        let page = authority.permits(&all, before, 3).await.unwrap();
        assert_eq!(page.total, 7);
        listed.extend(page.permits.into_iter().map(|permit| permit.id));
        match page.next {
            Some(next) => before = next,
            None => break,
        }
    }
    listed.reverse();
    assert_eq!(listed, ids);

    let total = async |filter: PermitFilter| {
        let page = authority.permits(&filter, u64::MAX, 1).await.unwrap();
        page.total
    };
    let all = PermitFilter::default;
    assert_eq!(total(all().status(PermitStatus::Consumed)).await, 4);
    assert_eq!(total(all().status(PermitStatus::Issued)).await, 3);
    assert_eq!(total(all().agent("bot")).await, 7);
    assert_eq!(total(all().agent("nobody")).await, 0);
    assert_eq!(total(all().action("deploy").since(at(5))).await, 2);
    assert_eq!(total(all().until(at(1))).await, 2);

    let id = ids[1].parse().unwrap();
    let permit = authority.permit(id).await.unwrap().unwrap();
    assert_eq!(
        (&permit.id, &permit.status),
        (&ids[1], &PermitStatus::Issued)
    );
    let revoked = authority.revoke_permit(id, "why").await.unwrap().unwrap();
    assert_eq!(revoked.status, PermitStatus::Revoked);
    assert_eq!(revoked.revoke_reason.as_deref(), Some("why"));
    let events = authority.store().status().await.unwrap().head.sequence;
    authority.revoke_permit(id, "again").await.unwrap().unwrap();
    let after = authority.store().status().await.unwrap().head.sequence;
    assert_eq!(events, after, "a permit is revoked once");
    let unknown = "pt_00000000000000000000000000000000".parse().unwrap();
    assert_eq!(authority.permit(unknown).await.unwrap(), None);
    intact(authority.store()).await;
}

pub(crate) async fn stops_and_counts_outlive_the_process<M: Medium>(medium: M) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let permit = token(&authority).await;
    let stop = stop(&authority, StopScope::all()).await;
    drop(authority);
    let authority = medium.authority(&time).await;
    assert_eq!(
        authority.stops().await.unwrap(),
        std::slice::from_ref(&stop)
    );
    assert_eq!(denial(&authority).await, code("STOPPED"));
    authority.lift_stop(&stop.id, "over").await.unwrap();
    drop(authority);
    let authority = medium.authority(&time).await;
    for _ in 0..2 {
        assert_eq!(refusal(&authority, &permit).await, code("STOPPED"));
    }
    // The permits of this medium live for a minute. After that, the lifted stop is removed.
    time.set(SignedDuration::from_mins(10).as_secs());
    assert_eq!(denial(&authority).await, None);
}
