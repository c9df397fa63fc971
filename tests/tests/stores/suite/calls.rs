//! The store counts calls by the minute.

use std::sync::Arc;

use atlasent_authority::store::{RateCounter, Store};

use crate::media::Medium;
use crate::support::{CROWD, crowd};

/// Counts from many tasks at once, ten times each. Returns all numbers in order.
pub(crate) async fn count<S: Store + RateCounter>(
    stores: &[Arc<S>],
    counter: &'static str,
    minute: i64,
) -> Vec<u64> {
    let numbers = crowd(|number| {
        let store = Arc::clone(&stores[number % stores.len()]);
        async move {
            let mut numbers = Vec::new();
            for _ in 0..10 {
                numbers.push(store.count_call(counter, minute).await.unwrap());
            }
            assert!(numbers.is_sorted());
            numbers
        }
    })
    .await;
    let mut numbers = numbers.concat();
    numbers.sort_unstable();
    numbers
}

pub(crate) async fn calls_are_counted_one_by_one(medium: impl Medium) {
    let stores = [Arc::new(medium.open().await)];
    let everyone: Vec<u64> = (1..=10 * CROWD as u64).collect();
    assert_eq!(count(&stores, "a", 1).await, everyone);
    let (b, c) = tokio::join!(count(&stores, "b", 1), count(&stores, "c", 1));
    assert_eq!((&b, &c), (&everyone, &everyone));
    assert_eq!(
        count(&stores, "a", 2).await,
        everyone,
        "a new minute begins at 1"
    );
}

pub(crate) async fn a_clock_that_is_behind_gives_nothing_back(medium: impl Medium) {
    let store = medium.open().await;
    for number in 1..=3 {
        assert_eq!(store.count_call("a", 10).await.unwrap(), number);
    }
    for (minute, number) in [(9, 4), (-1, 5), (10, 6), (i64::MIN, 7)] {
        assert_eq!(store.count_call("a", minute).await.unwrap(), number);
    }
    // The count also stays when other callers have moved on to the next minute.
    assert_eq!(store.count_call("b", 11).await.unwrap(), 1);
    assert_eq!(store.count_call("a", 11).await.unwrap(), 1);
    assert_eq!(store.count_call("b", 10).await.unwrap(), 2);
    assert_eq!(store.count_call("a", 9).await.unwrap(), 2);
}
