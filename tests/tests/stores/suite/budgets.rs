//! Budgets hold in every store, over several authorities, expiry and restarts.

use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::{EvaluateRequest, PermitToken, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::store::Store;
use atlasent_authority::{LocalAuthority, Policies};

use crate::media::Medium;
use crate::support::{Time, intact, permits_of_a_crowd};

/// Seven payments of 0.1 fit.
const POLICIES: &str = r#"
    @id("pay") @budget("amount 0.7/hour per organization")
    permit (principal, action == Action::"pay", resource);
"#;

fn request_by(number: usize) -> EvaluateRequest {
    let agent = Agent::new(format!("bot-{number}")).unwrap();
    let pay = AnyAction::new("pay").unwrap();
    EvaluateRequest::new(agent, &pay.with_field("amount", &0.1).unwrap()).unwrap()
}

async fn authority<S: Store>(store: S, time: &Time) -> LocalAuthority<S> {
    let authority = LocalAuthority::builder(Policies::parse(POLICIES).unwrap())
        .store(store)
        .clock(time.clone().clock())
        .permit_ttl(Duration::from_secs(64))
        .build();
    authority.await.unwrap()
}

/// Lets many agents ask at once, at all authorities. Returns the permits that they got.
async fn ask_all<S: Store>(authorities: &[Arc<LocalAuthority<S>>]) -> Vec<(usize, PermitToken)> {
    permits_of_a_crowd(authorities, request_by, "BUDGET_EXCEEDED").await
}

async fn verified<S: Store>(authority: &LocalAuthority<S>, (number, token): &(usize, PermitToken)) {
    let question = VerifyRequest::restating(&request_by(*number), token.clone());
    let verified = authority.verify(&question).await.unwrap();
    assert!(verified.valid, "{verified:?}");
}

pub(crate) async fn many_at_once_never_exceed_a_budget_and_use_what_is_given_back(
    medium: impl Medium,
) {
    let (time, store) = (Time::default(), medium.open().await);
    let org = store.status().await.unwrap().head.org_id.parse().unwrap();
    let mut authorities = Vec::new();
    for _ in 0..2 {
        use atlasent_authority::store::Organizations;
        authorities.push(Arc::new(authority(store.organization(&org), &time).await));
    }
    let tokens = ask_all(&authorities).await;
    assert_eq!(tokens.len(), 7);
    assert_eq!(ask_all(&authorities).await.len(), 0);
    // What is used stays spent, and what is revoked is given back at once.
    for permit in &tokens[..3] {
        verified(&authorities[1], permit).await;
    }
    let (_, token) = &tokens[3];
    assert!(authorities[0].revoke(token, "why").await.unwrap().revoked);
    assert_eq!(ask_all(&authorities).await.len(), 1);
    // The three unused ones of the first round and the one of the second expire.
    time.set(63);
    assert_eq!(ask_all(&authorities).await.len(), 0);
    time.set(66);
    assert_eq!(ask_all(&authorities).await.len(), 4);
    // After an hour and the rest of a slot, nothing of the first three counts.
    time.set(3_600 + 58);
    assert_eq!(ask_all(&authorities).await.len(), 7);
    intact(&store).await;
}

pub(crate) async fn what_is_used_of_a_budget_is_found_again(medium: impl Medium) {
    let time = Time::default();
    let open = || async { Arc::new(authority(medium.open().await, &time).await) };
    let authorities = [open().await];
    let tokens = ask_all(&authorities).await;
    verified(&authorities[0], &tokens[0]).await;
    drop(authorities);

    let authorities = [open().await];
    assert_eq!(ask_all(&authorities).await.len(), 0);
    verified(&authorities[0], &tokens[1]).await;
    drop(authorities);

    time.set(66);
    let authorities = [open().await];
    assert_eq!(ask_all(&authorities).await.len(), 5);
    intact(authorities[0].store()).await;
}
