//! The promises of every store, tested in memory, in one file, and in PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod api_keys;
mod check;
mod conflicts;
mod crash;
mod file;
mod media;
mod partitions;
mod pooler;
mod registry;
mod server;
mod shared;
mod suite;
mod support;
mod tls;

use media::{Distributed, Medium, Memory, Organization, Pooled, Postgres, Redb};

/// One test for each promise, on one medium.
macro_rules! keeps {
    ($store:ident, $medium:ty: $($subject:ident: $($promise:ident),+;)+) => {
        mod $store {
            use super::*;
            $(mod $subject {
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    if let Some(medium) = <$medium>::new().await {
                        suite::$subject::$promise(medium).await;
                    }
                })+
            })+
        }
    };
}

macro_rules! every_store_keeps {
    ($($promises:tt)+) => {
        keeps!(memory, Memory: $($promises)+);
        keeps!(redb, Redb: $($promises)+);
        keeps!(postgres, Postgres: $($promises)+);
        keeps!(memory_organization, Organization<Memory>: $($promises)+);
        keeps!(redb_organization, Organization<Redb>: $($promises)+);
        keeps!(postgres_organization, Organization<Postgres>: $($promises)+);
    };
}

macro_rules! durable_stores_keep {
    ($($promises:tt)+) => {
        keeps!(redb_reopened, Redb: $($promises)+);
        keeps!(postgres_reopened, Postgres: $($promises)+);
        keeps!(redb_organization_reopened, Organization<Redb>: $($promises)+);
        keeps!(postgres_organization_reopened, Organization<Postgres>: $($promises)+);
    };
}

every_store_keeps! {
    changes:
        a_change_is_kept_whole,
        a_change_that_panics_keeps_nothing_and_harms_nobody_after,
        a_change_sees_what_the_one_before_it_left,
        a_change_that_only_looks_leaves_nothing,
        a_caller_who_stops_waiting_takes_half_of_nothing_back,
        time_never_runs_backwards,
        names_may_hold_any_character;
    permits:
        of_many_who_hold_one_permit_one_passes,
        a_permit_is_either_used_or_revoked,
        a_permit_is_known_as_expired_and_not_forgotten_before_its_time,
        cells_whose_time_is_long_over_are_forgotten;
    chain:
        many_at_once_make_one_chain_without_gaps,
        events_come_in_pages,
        events_are_found_by_type_agent_time_and_place,
        any_filter_finds_and_counts_what_passes,
        a_list_of_events_ends_when_it_has_its_bytes,
        what_is_dropped_is_gone_and_the_rest_verifies;
    replays:
        the_same_request_gets_the_same_answer,
        another_body_under_the_same_id_has_no_answer,
        another_caller_with_the_same_id_gets_her_own,
        many_at_once_with_one_id_get_one_permit,
        once_its_permit_is_used_the_request_is_a_new_one,
        after_its_time_the_request_is_a_new_one;
    standing:
        a_permit_does_not_outlive_the_policies_that_granted_it,
        an_answer_does_not_outlive_the_policies_that_gave_it,
        a_stop_denies_what_it_covers_and_nothing_else,
        a_permit_that_was_out_stays_dead_after_the_stop,
        a_stop_with_an_end_ends,
        of_evaluations_beside_a_stop_none_that_comes_after_it_is_allowed,
        what_is_out_can_be_taken_back_by_agent_and_by_event,
        an_agent_with_too_many_permits_gets_no_more_and_others_do,
        permits_are_listed_and_found_by_their_ids;
    limits:
        many_at_once_get_no_more_permits_than_the_organization_may_have,
        archived_events_do_not_count_towards_the_limit_of_events;
    budgets:
        many_at_once_never_exceed_a_budget_and_use_what_is_given_back;
    receipts:
        of_many_receipts_of_one_permit_one_is_recorded,
        bodies_that_end_at_once_are_each_recorded;
    calls:
        calls_are_counted_one_by_one,
        a_clock_that_is_behind_gives_nothing_back;
    organizations:
        an_organization_sees_nothing_of_another,
        times_and_counts_are_those_of_the_own_chain,
        a_cell_is_forgotten_at_the_end_of_its_own_time,
        events_that_one_organization_drops_stay_in_another,
        changes_that_share_a_transaction_see_their_own_cells,
        an_unknown_organization_is_refused_and_not_created,
        organizations_are_listed_in_the_order_of_their_ids,
        changes_of_many_organizations_make_a_chain_of_each,
        a_change_that_panics_harms_no_other_organization;
    cells:
        no_kind_of_cell_is_shared_by_organizations;
    approvals:
        a_decision_moves_from_the_open_ones_to_the_closed_ones,
        a_closed_decision_never_opens_again,
        decisions_come_in_pages_the_newest_first,
        a_page_of_decisions_ends_after_some_megabytes,
        of_many_that_decide_at_once_each_sees_the_others,
        a_closed_decision_is_forgotten_and_an_open_one_is_not,
        questions_are_the_agents_own_and_no_counts_of_permits,
        long_lists_are_paged_as_fast_as_short_ones,
        any_series_of_decisions_leaves_what_a_model_of_it_has,
        an_organization_sees_no_decision_of_another,
        decisions_of_an_unknown_organization_are_refused;
    any:
        any_series_of_changes_leaves_what_a_model_of_it_has;
}

// The promise of a store that is made for one organization.
keeps! {memory_alone, Memory: organizations: a_chain_keeps_the_organization_that_it_began_with;}
keeps! {redb_alone, Redb: organizations: a_chain_keeps_the_organization_that_it_began_with;}
keeps! {postgres_alone, Postgres: organizations: a_chain_keeps_the_organization_that_it_began_with;}

// The promises that depend on how a database isolates transactions, and where it keeps rows.
keeps! {distributed_organization, Organization<Distributed>:
    changes:
        a_change_is_kept_whole,
        a_change_that_panics_keeps_nothing_and_harms_nobody_after;
    permits:
        of_many_who_hold_one_permit_one_passes,
        cells_whose_time_is_long_over_are_forgotten;
    chain:
        events_are_found_by_type_agent_time_and_place,
        what_is_dropped_is_gone_and_the_rest_verifies;
    replays:
        many_at_once_with_one_id_get_one_permit;
    standing:
        of_evaluations_beside_a_stop_none_that_comes_after_it_is_allowed,
        permits_are_listed_and_found_by_their_ids;
    calls:
        calls_are_counted_one_by_one;
    approvals:
        a_decision_moves_from_the_open_ones_to_the_closed_ones,
        of_many_that_decide_at_once_each_sees_the_others,
        a_closed_decision_is_forgotten_and_an_open_one_is_not,
        decisions_are_found_again;
    organizations:
        an_organization_sees_nothing_of_another;
    cells:
        no_kind_of_cell_is_shared_by_organizations;
    reopened:
        everything_is_found_again;
}

// The promises that depend on the connection.
keeps! {pooled, Pooled:
    changes:
        a_change_that_panics_keeps_nothing_and_harms_nobody_after;
    permits:
        of_many_who_hold_one_permit_one_passes;
    chain:
        events_are_found_by_type_agent_time_and_place,
        what_is_dropped_is_gone_and_the_rest_verifies;
    standing:
        permits_are_listed_and_found_by_their_ids;
    approvals:
        a_decision_moves_from_the_open_ones_to_the_closed_ones,
        of_many_that_decide_at_once_each_sees_the_others,
        a_closed_decision_is_forgotten_and_an_open_one_is_not,
        decisions_are_found_again;
    organizations:
        an_organization_sees_nothing_of_another;
    reopened:
        everything_is_found_again;
}

durable_stores_keep! {
    histories:
        any_history_is_found_again;
    reopened:
        everything_is_found_again,
        an_answer_can_be_had_again,
        a_permit_that_was_used_stays_used;
    budgets:
        what_is_used_of_a_budget_is_found_again;
    receipts:
        a_receipt_stays_recorded;
    standing:
        stops_and_counts_outlive_the_process;
    approvals:
        decisions_are_found_again;
    organizations:
        organizations_are_found_again;
}
