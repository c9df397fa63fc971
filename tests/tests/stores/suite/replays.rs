//! A repeated request of the same caller gets the same permit until the permit is used.

use std::collections::HashSet;
use std::sync::Arc;

use atlasent::Authority;
use atlasent::wire::{EvaluateRequest, Evaluation, RequestOptions};
use atlasent_authority::store::Store;
use atlasent_authority::{Caller, EvaluateOutcome, LocalAuthority};

use crate::media::Medium;
use crate::support::{CROWD, Time, crowd, intact, question, request_of};

pub(crate) const ALICE: Caller<'_> = Caller::new("alice", b"the key of alice");
const BOB: Caller<'_> = Caller::new("bob", b"the key of bob");

pub(crate) fn named(action: &'static str, id: &str) -> EvaluateRequest {
    request_of(action).with_options(RequestOptions::default().request_id(id))
}

/// Returns the answer, and whether it is a repeated one.
pub(crate) async fn ask<S: Store>(
    authority: &LocalAuthority<S>,
    caller: Caller<'_>,
    request: &EvaluateRequest,
) -> Option<(Evaluation, bool)> {
    match authority.evaluate_for(caller, request, None).await.unwrap() {
        EvaluateOutcome::First(evaluation) => Some((evaluation, false)),
        EvaluateOutcome::Repeated(evaluation) => Some((evaluation, true)),
        EvaluateOutcome::Conflict => None,
    }
}

pub(crate) async fn the_same_request_gets_the_same_answer(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    let request = named("deploy", "1");
    let (first, repeated) = ask(&authority, ALICE, &request).await.unwrap();
    assert!(!repeated && first.permit_token.is_some());
    for _ in 0..3 {
        assert_eq!(
            ask(&authority, ALICE, &request).await.unwrap(),
            (first.clone(), true)
        );
    }
    let token = first.permit_token.unwrap();
    assert!(authority.verify(&question(&token)).await.unwrap().valid);
    assert_eq!(intact(authority.store()).await, 1 + 4 + 1);
}

pub(crate) async fn once_its_permit_is_used_the_request_is_a_new_one(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    let request = named("deploy", "1");
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let (answer, repeated) = ask(&authority, ALICE, &request).await.unwrap();
        let token = answer.permit_token.unwrap();
        assert!(!repeated && seen.insert(token.expose().to_owned()));
        assert!(ask(&authority, ALICE, &request).await.unwrap().1);
        assert!(authority.verify(&question(&token)).await.unwrap().valid);
    }
    let (answer, _) = ask(&authority, ALICE, &request).await.unwrap();
    let token = answer.permit_token.unwrap();
    assert!(authority.revoke(&token, "why").await.unwrap().revoked);
    assert!(!ask(&authority, ALICE, &request).await.unwrap().1);
}

pub(crate) async fn another_body_under_the_same_id_has_no_answer(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    ask(&authority, ALICE, &named("deploy", "1")).await.unwrap();
    assert!(
        ask(&authority, ALICE, &named("delete", "1"))
            .await
            .is_none()
    );
    assert!(
        ask(&authority, ALICE, &named("delete", "2"))
            .await
            .is_some()
    );
    assert_eq!(intact(authority.store()).await, 3);
}

pub(crate) async fn another_caller_with_the_same_id_gets_her_own(medium: impl Medium) {
    let authority = medium.authority(&Time::default()).await;
    let request = named("deploy", "1");
    let (hers, _) = ask(&authority, ALICE, &request).await.unwrap();
    let (his, repeated) = ask(&authority, BOB, &request).await.unwrap();
    assert!(!repeated);
    assert_ne!(hers.permit_token, his.permit_token);
}

pub(crate) async fn many_at_once_with_one_id_get_one_permit(medium: impl Medium) {
    let authority = Arc::new(medium.authority(&Time::default()).await);
    let answers = crowd(|_| {
        let authority = Arc::clone(&authority);
        async move { ask(&authority, ALICE, &named("deploy", "1")).await.unwrap() }
    })
    .await;
    let first = answers.iter().filter(|(_, repeated)| !repeated).count();
    let tokens: HashSet<_> = answers
        .iter()
        .map(|(answer, _)| answer.permit_token.as_ref().unwrap().expose().to_owned())
        .collect();
    assert_eq!((answers.len(), first, tokens.len()), (CROWD, 1, 1));
    assert_eq!(intact(authority.store()).await, 1 + CROWD as u64);
}

pub(crate) async fn after_its_time_the_request_is_a_new_one(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let request = named("deploy", "1");
    let (first, _) = ask(&authority, ALICE, &request).await.unwrap();
    time.set(59);
    assert!(ask(&authority, ALICE, &request).await.unwrap().1);
    time.set(60);
    let (second, repeated) = ask(&authority, ALICE, &request).await.unwrap();
    assert!(!repeated);
    assert_ne!(first.permit_token, second.permit_token);
    assert_eq!(
        ask(&authority, ALICE, &request).await.unwrap(),
        (second, true)
    );
}
