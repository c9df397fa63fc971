//! The check of a store in PostgreSQL, also while retention drops events.

use std::time::Duration;

use atlasent_authority::PostgresStore;
use atlasent_authority::store::StoreReport;

use crate::media::{Medium, Postgres};
use crate::support::{at, issue, record};

async fn filled() -> Option<(Postgres, PostgresStore)> {
    let medium = Postgres::new().await?;
    let store = medium.open().await;
    for number in 0..6 {
        record(&store, "policy.loaded", None, at(number)).await;
    }
    for name in ["a", "b"] {
        issue(&store, name, at(7)).await.unwrap();
    }
    Some((medium, store))
}

#[tokio::test]
async fn every_cell_is_read_and_compared_with_its_columns() {
    let Some((medium, store)) = filled().await else {
        return;
    };
    let good = store.check().await.unwrap();
    assert!(good.is_good() && good.cells >= 2, "{good:?}");
    let is_permit = "get_byte(key, 0) = ascii('p')";
    for (change, problem) in [
        ("expires_at = expires_at + 1", "another time or event"),
        (
            "expires_at = expires_at - 1, issued = 99",
            "another time or event",
        ),
        (r#"value = '{"hunter2": 1}'"#, "cannot be read"),
    ] {
        let change = format!("UPDATE atlasent_cells SET {change} WHERE {is_permit}");
        medium.sql(&change).await;
        let StoreReport {
            problems, found, ..
        } = store.check().await.unwrap();
        assert_eq!((problems.len(), found), (2, 2), "{change}: {problems:?}");
        for found in problems {
            assert!(
                found.contains(problem) && !found.contains("hunter2"),
                "{found}"
            );
        }
    }
}

#[tokio::test]
async fn events_that_are_dropped_meanwhile_are_not_missing() {
    let Some((medium, store)) = filled().await else {
        return;
    };
    // The check has read the dropped events, and meanwhile waits for the others.
    let dropping = medium.sql(
        "BEGIN; LOCK TABLE atlasent_events; SELECT pg_sleep(2); \
         UPDATE atlasent_head SET dropped = 4; DELETE FROM atlasent_events WHERE sequence <= 4; COMMIT",
    );
    let checking = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.check().await.unwrap()
    };
    let (_, report) = tokio::join!(dropping, checking);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.dropped, 4);

    medium
        .sql("DELETE FROM atlasent_events WHERE sequence = 5")
        .await;
    let report = store.check().await.unwrap();
    assert_eq!(report.problems, ["event 5 is missing"]);
}
