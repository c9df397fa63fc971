//! The check of a store in PostgreSQL, also while retention drops events.

use std::time::Duration;

use atlasent_authority::PostgresStore;
use atlasent_authority::store::{OrgId, Organizations, Store, StoreReport};

use crate::media::{Medium, Postgres};
use crate::support::{at, escalation, issue, open_decisions, record};

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
async fn a_decision_in_a_wrong_list_or_place_is_reported() {
    let Some((medium, store)) = filled().await else {
        return;
    };
    let ids = vec![escalation(1), escalation(2)];
    open_decisions(&store, ids, at(7)).await.unwrap();
    assert!(store.check().await.unwrap().is_good());
    for change in [
        "closed = NOT closed",
        "closed = NULL",
        "opened = opened + 1",
        "opened = NULL, closed = NULL",
    ] {
        medium
            .sql(&format!(
                "CREATE TABLE kept AS SELECT * FROM atlasent_cells; \
                 UPDATE atlasent_cells SET {change} WHERE get_byte(key, 0) = ascii('h')"
            ))
            .await;
        let report = store.check().await.unwrap();
        let misfiled = report.problems.iter();
        let misfiled = misfiled.filter(|problem| problem.contains("another time or event"));
        assert_eq!(misfiled.count(), 2, "{change}: {report:?}");
        medium
            .sql("TRUNCATE atlasent_cells; INSERT INTO atlasent_cells SELECT * FROM kept; DROP TABLE kept")
            .await;
    }
    let count = "UPDATE atlasent_cells SET value = '{\"open_approvals\":5}' WHERE get_byte(key, 0) = ascii('o')";
    medium.sql(count).await;
    let report = store.check().await.unwrap();
    let problem = "2 decisions are open, and the count of them is 5";
    assert_eq!(report.problems, [problem]);
}

#[tokio::test]
async fn a_wrong_cell_is_reported_for_its_own_organization() {
    let Some((medium, store)) = filled().await else {
        return;
    };
    let ids = ["one", "two"].map(|id| id.parse::<OrgId>().unwrap());
    for id in &ids {
        store.create_organization(id).await.unwrap();
        issue(&store.organization(id), "a", at(7)).await.unwrap();
    }
    let change = "UPDATE atlasent_cells SET expires_at = expires_at + 1 WHERE org = 'one'";
    medium.sql(change).await;
    let report = store.check().await.unwrap();
    let problems = ids.map(|id| report.others[&id].problems.len());
    assert_eq!((report.problems.len(), problems), (0, [1, 0]), "{report:?}");
}

#[tokio::test]
async fn open_decisions_are_counted_in_their_own_organization() {
    let Some((_medium, store)) = filled().await else {
        return;
    };
    for (id, count) in [("one", 1), ("two", 2)] {
        let id: OrgId = id.parse().unwrap();
        store.create_organization(&id).await.unwrap();
        let ids = (0..count).map(escalation).collect();
        let store = store.organization(&id);
        open_decisions(&store, ids, at(7)).await.unwrap();
    }
    let report = store.check().await.unwrap();
    assert!(report.is_good() && report.others.len() == 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_organization_delays_no_other() {
    let Some((medium, store)) = filled().await else {
        return;
    };
    let [one, two] = ["one", "two"].map(|id| id.parse::<OrgId>().unwrap());
    for id in [&one, &two] {
        store.create_organization(id).await.unwrap();
    }
    let lock = "BEGIN; SELECT 1 FROM atlasent_head WHERE org = 'one' FOR UPDATE; SELECT pg_sleep(6); COMMIT";
    let locking = tokio::spawn(async move { medium.sql(lock).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    for id in [&two, &OrgId::local()] {
        record(&store.organization(id), "policy.loaded", None, at(8)).await;
    }
    assert!(!locking.is_finished());
    let locked = store.organization(&one);
    record(&locked, "policy.loaded", None, at(8)).await;
    assert_eq!(locked.status().await.unwrap().head.sequence, 1);
    locking.await.unwrap();
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
