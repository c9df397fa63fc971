//! What every store promises, asked of each: in memory, in a file, in PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod places;
mod shared;
mod suite;
mod survives;

/// One test for each promise and each kind of store.
macro_rules! of_each_store {
    ($($promise:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                crate::suite::$promise(&crate::places::Memory).await;
            })*
        }

        mod redb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                crate::suite::$promise(&crate::places::File::new()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                if let Some(place) = crate::places::Database::new() {
                    crate::suite::$promise(&place).await;
                }
            })*
        }
    };
}

of_each_store! {
    a_change_is_kept_whole
    of_many_who_use_a_permit_one_gets_it
    a_permit_is_used_or_revoked_and_not_both
    what_is_recorded_at_the_same_time_is_one_chain
    a_change_that_panics_keeps_nothing_and_harms_nobody
    a_clock_that_is_set_back_turns_nothing_back
    the_same_request_gets_the_same_answer
    the_same_request_at_the_same_time_mints_one_permit
    an_answer_is_repeated_as_long_as_its_permit_is_good
    events_are_found_by_what_they_are
    old_events_go_and_the_rest_still_verifies
    calls_are_counted_exactly
    whoever_stops_waiting_leaves_no_half_of_a_change
    any_name_is_kept_as_it_is
}
