//! Databases whose tables are partitioned by organization.

use atlasent_authority::store::{OrgId, Organizations};

use crate::media::{Medium, Postgres};
use crate::support::{at, issue, record, state};

/// Replaces the table of cells by one with four partitions.
const PARTITION: &str = "\
    DROP TABLE atlasent_cells; \
    CREATE TABLE atlasent_cells (key bytea, value text NOT NULL, expires_at bigint NOT NULL, issued bigint, \
        org text COLLATE \"C\", PRIMARY KEY (org, key)) PARTITION BY HASH (org); \
    CREATE TABLE cells_0 PARTITION OF atlasent_cells FOR VALUES WITH (MODULUS 4, REMAINDER 0); \
    CREATE TABLE cells_1 PARTITION OF atlasent_cells FOR VALUES WITH (MODULUS 4, REMAINDER 1); \
    CREATE TABLE cells_2 PARTITION OF atlasent_cells FOR VALUES WITH (MODULUS 4, REMAINDER 2); \
    CREATE TABLE cells_3 PARTITION OF atlasent_cells FOR VALUES WITH (MODULUS 4, REMAINDER 3)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_that_are_forgotten_take_none_of_another_partition_with_them() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    drop(medium.open().await);
    medium.sql(PARTITION).await;
    let store = medium.open().await;
    let orgs: Vec<OrgId> = (0..8)
        .map(|n| format!("org-{n}").parse().unwrap())
        .collect();
    for org in &orgs {
        store.create_organization(org).await.unwrap();
        let store = store.organization(org);
        issue(&store, "permit", at(0)).await.unwrap();
    }
    // The first cells of all partitions are at the same place in their tables.
    let first = store.organization(&orgs[0]);
    record(&first, "policy.loaded", None, at(2 * 3_600)).await;
    assert_eq!(state(&first, "permit").await, None);
    for org in &orgs[1..] {
        let kept = state(&store.organization(org), "permit").await;
        assert!(kept.is_some(), "{org}");
    }
}
