//! A permit has one receipt, and every body that ends under an authority has one.

use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::{PermitToken, Receipt, ReceiptOutcome};
use atlasent::{AnyAction, Authority, AuthorityExt, Error};
use atlasent_authority::store::{PermitKey, Store};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, ReceiptRefusal};

use crate::media::Medium;
use crate::support::{CROWD, Time, crowd, intact, question, token};

fn receipt(token: &PermitToken, outcome: ReceiptOutcome) -> Receipt {
    let id = PermitKey::from_token(token).id().to_string();
    Receipt::new(id, token.clone(), outcome, Duration::from_millis(7))
}

async fn count<S: Store>(authority: &LocalAuthority<S>, kind: &str) -> u64 {
    let filter = EventFilter::default().types([kind]);
    authority.store().count_events(&filter).await.unwrap()
}

pub(crate) async fn of_many_receipts_of_one_permit_one_is_recorded(medium: impl Medium) {
    let authority = Arc::new(medium.authority(&Time::default()).await);
    let token = token(&authority).await;
    assert!(authority.verify(&question(&token)).await.unwrap().valid);
    let outcomes = crowd(|number| {
        let outcome = match number % 2 {
            0 => ReceiptOutcome::Completed,
            _ => ReceiptOutcome::Cancelled,
        };
        let (authority, receipt) = (Arc::clone(&authority), receipt(&token, outcome));
        async move { authority.complete_permit(&receipt).await }
    })
    .await;
    let (recorded, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((recorded.len(), refused.len()), (CROWD / 2, CROWD / 2));
    for error in refused.into_iter().map(Result::unwrap_err) {
        let source = std::error::Error::source(&error).unwrap();
        let refusal = source.downcast_ref::<ReceiptRefusal>();
        assert_eq!(refusal, Some(&ReceiptRefusal::Conflict));
    }
    let answers: Vec<_> = recorded.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let ended = count(&authority, "permit.completed").await;
    assert_eq!(ended + count(&authority, "permit.cancelled").await, 1);
    intact(authority.store()).await;
}

pub(crate) async fn bodies_that_end_at_once_are_each_recorded(medium: impl Medium) {
    let authority = Arc::new(medium.authority(&Time::default()).await);
    crowd(|number| {
        let authority = Arc::clone(&authority);
        async move {
            let action = AnyAction::new("deploy").unwrap();
            let body = async |_| match number % 2 {
                0 => Ok::<_, Error>(()),
                _ => Err(Error::Invalid("no".to_owned())),
            };
            authority.with_permit("bot", action, body).await.is_ok()
        }
    })
    .await;
    authority.flush_receipts().await;
    let counts = authority.receipt_counts();
    assert_eq!(
        (counts.delivered, counts.waiting),
        (CROWD as u64, 0),
        "{counts:?}"
    );
    assert_eq!(
        count(&authority, "permit.completed").await,
        CROWD as u64 / 2
    );
    assert_eq!(count(&authority, "permit.failed").await, CROWD as u64 / 2);
    intact(authority.store()).await;
}

pub(crate) async fn a_receipt_stays_recorded(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let token = token(&authority).await;
    assert!(authority.verify(&question(&token)).await.unwrap().valid);
    let failed = receipt(&token, ReceiptOutcome::Failed).with_error("the disk is full");
    let first = authority.complete_permit(&failed).await.unwrap();
    drop(authority);
    let authority = medium.authority(&time).await;
    assert_eq!(authority.complete_permit(&failed).await.unwrap(), first);
    let completed = receipt(&token, ReceiptOutcome::Completed);
    assert!(authority.complete_permit(&completed).await.is_err());
    assert_eq!(count(&authority, "permit.failed").await, 1);
    intact(authority.store()).await;
}
