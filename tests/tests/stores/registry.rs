//! The registry of organizations in PostgreSQL: an organization is created with its chain or not at
//! all, and each change applies at once.

use std::num::NonZeroU32;

use atlasent_authority::organizations::{Organization, Suspension};
use atlasent_authority::server::OrgRegistry;
use atlasent_authority::store::{OrgId, Organizations, Store};
use tokio::task::JoinSet;

use crate::media::{Medium, Postgres};
use crate::support::{at, intact, record};

fn org(id: &str) -> OrgId {
    id.parse().unwrap()
}

fn organization(id: &str) -> Organization {
    Organization::new(org(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_is_created_with_its_chain_once() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let stores = [medium.open().await, medium.open().await];
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let store = stores[n % 2].clone();
        tasks.spawn(async move {
            let mut acme = organization("acme");
            acme.name = Some(n.to_string());
            (n, store.create_organization_record(&acme).await.unwrap())
        });
    }
    let created = tasks.join_all().await;
    let created: Vec<_> = created.iter().filter(|(_, created)| *created).collect();
    let [(winner, _)] = created[..] else {
        panic!("created {created:?}");
    };
    let records = stores[1].organization_records().await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].name, Some(winner.to_string()));
    let acme = stores[0].organization(&org("acme"));
    assert_eq!(intact(&acme).await, 0);
    record(&acme, "policy.loaded", None, at(0)).await;

    // A chain that is there already stays.
    assert!(stores[0].create_organization(&org("early")).await.unwrap());
    let early = stores[0].organization(&org("early"));
    record(&early, "policy.loaded", None, at(0)).await;
    let record = organization("early");
    let registered = stores[0].create_organization_record(&record).await;
    assert!(registered.unwrap());
    assert_eq!(intact(&early).await, 1);
    let records = stores[0].organization_records().await.unwrap();
    let ids: Vec<_> = records.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["acme", "early"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_whose_chain_cannot_be_created_is_not_registered() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    medium
        .sql("ALTER TABLE atlasent_head ADD CONSTRAINT closed CHECK (org = 'local')")
        .await;
    let acme = organization("acme");
    assert!(store.create_organization_record(&acme).await.is_err());
    assert!(store.organization_records().await.unwrap().is_empty());
    medium
        .sql("ALTER TABLE atlasent_head DROP CONSTRAINT closed")
        .await;
    assert!(store.create_organization_record(&acme).await.unwrap());
    assert_eq!(store.organization_records().await.unwrap(), [acme]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_many_processes_to_an_organization_are_all_kept() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let stores = [medium.open().await, medium.open().await];
    let (mut acme, globex) = (organization("acme"), organization("globex"));
    for one in [&acme, &globex] {
        stores[0].create_organization_record(one).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let store = stores[n % 2].clone();
        tasks.spawn(async move {
            let add_day = |one: &mut Organization| {
                one.id = org("other");
                let days = one.retain_days.map_or(0, NonZeroU32::get) + 1;
                one.retain_days = NonZeroU32::new(days);
                days
            };
            let changed = store.change_organization(&org("acme"), add_day).await;
            changed.unwrap().unwrap()
        });
    }
    let mut days = tasks.join_all().await;
    days.sort_unstable();
    assert_eq!(days, (1..=16).collect::<Vec<_>>());
    let kept = stores[0].organization_records().await.unwrap();
    acme.retain_days = NonZeroU32::new(16);
    assert_eq!(kept, [acme, globex]);
    let unknown = stores[0].change_organization(&org("b"), |_| ()).await;
    assert_eq!(unknown.unwrap(), None);
}

#[tokio::test]
async fn local_is_neither_created_nor_changed_in_the_registry() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    let local = Organization::new(OrgId::local());
    let created = store.create_organization_record(&local).await;
    let suspend = |one: &mut Organization| one.suspended = Some(Suspension::new("r"));
    let changed = store.change_organization(&local.id, suspend).await;
    for error in [created.unwrap_err(), changed.unwrap_err()] {
        let text = error.to_string();
        assert_eq!(text, "`local` is the organization that every store has");
    }
    assert!(store.organization_records().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_sees_each_change_of_another_process_to_the_registry() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let registry = OrgRegistry::default().with_database(medium.open().await);
    let registry = registry.await.unwrap();
    let mut last = registry.version();
    let mut changed = async || {
        registry.refresh().await.unwrap();
        let before = std::mem::replace(&mut last, registry.version());
        before != last
    };
    assert!(!changed().await);
    let other = medium.open().await;
    other
        .create_organization_record(&organization("acme"))
        .await
        .unwrap();
    assert!(changed().await && registry.get(&org("acme")).is_some());
    assert!(!changed().await);
    let suspend = |one: &mut Organization| one.suspended = Some(Suspension::new("unpaid"));
    let suspended = other.change_organization(&org("acme"), suspend).await;
    assert_eq!(suspended.unwrap(), Some(()));
    assert!(changed().await);
    let acme = registry.get(&org("acme")).unwrap();
    assert_eq!(acme.suspended.as_ref().unwrap().reason, "unpaid");
    // A change that bypasses the store applies as well.
    medium.sql("DELETE FROM atlasent_organizations").await;
    assert!(changed().await && registry.get(&org("acme")).is_none());
}

/// Turns tables of version 5 into those of version 3.
const TO_VERSION_3: &str = "\
    DELETE FROM atlasent_schema WHERE version > 3; \
    ALTER TABLE atlasent_cells DROP COLUMN opened, DROP COLUMN closed; \
    DROP TABLE atlasent_organizations, atlasent_organizations_version; \
    DROP FUNCTION atlasent_organizations_changed";

#[tokio::test]
async fn organizations_from_before_the_registry_are_registered() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    for id in ["b-1", "a_2"] {
        store.create_organization(&org(id)).await.unwrap();
    }
    let acme = store.organization(&org("a_2"));
    record(&acme, "policy.loaded", None, at(0)).await;
    drop((store, acme));
    medium.sql(TO_VERSION_3).await;

    let store = medium.open().await;
    let records = store.organization_records().await.unwrap();
    let expected = ["a_2", "b-1"].map(|id| {
        let mut expected = organization(id);
        expected.created_at = records[0].created_at;
        expected
    });
    assert_eq!(records, expected);
    let age = jiff::Timestamp::now().duration_since(records[0].created_at);
    assert!(age.as_secs().abs() < 60, "{age:?}");
    let created = store.create_organization_record(&organization("b-1")).await;
    assert!(!created.unwrap());
    assert_eq!(intact(&store.organization(&org("a_2"))).await, 1);
    assert_eq!(&*store.status().await.unwrap().head.org_id, "local");
}
