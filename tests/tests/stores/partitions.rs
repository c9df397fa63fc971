//! Databases whose tables a script has created, partitioned by organization or not.

use std::num::NonZeroU16;

use atlasent_authority::PostgresStore;
use atlasent_authority::store::{OrgId, Organizations};
use atlasent_tests::postgres::PrivatePostgres;

use crate::media::{Distributed, Medium, Postgres};
use crate::support::{at, intact, issue, record, state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_that_are_forgotten_take_none_of_another_partition_with_them() {
    let Some(medium) = Distributed::new().await else {
        return;
    };
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

/// Everything that a database has of ours, beside the rows: columns, constraints, indexes,
/// triggers.
const CATALOG: &str = "\
    WITH ours AS (SELECT * FROM pg_class WHERE relname LIKE 'atlasent\\_%' AND relkind IN ('r', 'p')) \
    SELECT concat_ws(' ', relname, relpersistence, attname, format_type(atttypid, atttypmod), collname, \
        attnotnull, pg_get_expr(adbin, adrelid)) AS line \
        FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped \
        LEFT JOIN pg_attrdef ON adrelid = ours.oid AND adnum = attnum \
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation \
    UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(pg_constraint.oid)) \
        FROM ours JOIN pg_constraint ON conrelid = ours.oid \
    UNION ALL SELECT pg_get_indexdef(indexrelid) FROM ours JOIN pg_index ON indrelid = ours.oid \
    UNION ALL SELECT pg_get_triggerdef(pg_trigger.oid) FROM ours JOIN pg_trigger ON tgrelid = ours.oid \
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'atlasent\\_%' \
    UNION ALL SELECT concat_ws(' ', 'version', version) FROM atlasent_schema \
    UNION ALL SELECT concat_ws(' ', head.*) FROM ( \
        SELECT org, org_id, sequence, hash, time, dropped FROM atlasent_head) head \
    UNION ALL SELECT concat_ws(' ', 'keys', version) FROM atlasent_api_keys_version \
    UNION ALL SELECT concat_ws(' ', 'organizations', version) FROM atlasent_organizations_version \
    ORDER BY line";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_and_the_migrations_make_the_same_tables() {
    let (Some(migrated), Some(scripted)) = tokio::join!(Postgres::new(), Postgres::new()) else {
        return;
    };
    drop(migrated.open().await);
    scripted.sql(&PostgresStore::schema(None)).await;
    let (migrated, scripted) = (migrated.sql(CATALOG).await, scripted.sql(CATALOG).await);
    assert!(migrated.len() > 60, "{migrated:#?}");
    for line in &migrated {
        assert!(scripted.contains(line), "the script lacks `{line}`");
    }
    assert_eq!(migrated, scripted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_to_make_tables_uses_those_of_the_script() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let user = format!("scripted_{}", medium.url().rsplit('_').next().unwrap());
    medium
        .sql(&format!(
            "{} CREATE ROLE {user} LOGIN; REVOKE CREATE ON SCHEMA public FROM public; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}",
            PostgresStore::schema(NonZeroU16::new(2))
        ))
        .await;
    let url = medium.url().replace("postgres@", &format!("{user}@"));
    let store = PostgresStore::connect(&url).await.unwrap();
    record(&store, "policy.loaded", None, at(0)).await;
    let partitions =
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1";
    assert_eq!(
        medium.sql(partitions).await,
        [
            "atlasent_cells_0",
            "atlasent_cells_1",
            "atlasent_events_0",
            "atlasent_events_1"
        ]
    );
}

/// The steps are those of `docs/databases.md`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_database_is_moved_into_partitions() {
    let (Some(old), Some(new)) = tokio::join!(Postgres::new(), Postgres::new()) else {
        return;
    };
    let store = old.open().await;
    let acme: OrgId = "acme".parse().unwrap();
    store.create_organization(&acme).await.unwrap();
    for store in [store.clone(), store.organization(&acme)] {
        issue(&store, "permit", at(0)).await.unwrap();
        record(&store, "evaluate.deny", Some("bot"), at(1)).await;
    }
    let before = store.check().await.unwrap();
    drop(store);
    new.sql(&PostgresStore::schema(NonZeroU16::new(4))).await;
    let page = include_str!("../../../docs/databases.md");
    let truncate = page
        .split('\'')
        .find(|quoted| quoted.starts_with("TRUNCATE atlasent_head"));
    new.sql(truncate.unwrap()).await;
    let server = PrivatePostgres::shared().unwrap();
    server.copy_rows(old.url(), new.url());

    let store = new.open().await;
    assert_eq!(store.check().await.unwrap(), before);
    assert!(before.is_good() && before.others.len() == 1);
    assert!(state(&store.organization(&acme), "permit").await.is_some());
    record(&store, "policy.loaded", None, at(2)).await;
    assert_eq!(intact(&store).await, 3);
}
