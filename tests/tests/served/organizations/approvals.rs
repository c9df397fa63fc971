//! Decisions end in time although nothing is asked of their organization: after it has left the
//! memory, and after a restart.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::organizations::{Organization, Suspension};
use atlasent_authority::server::{OrgHosting, OrgRegistry, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{Organizations, RateCounter, RedbStore, Store};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, MemoryStore, Policies};

use super::support::{ACME, Folder, id, keys};
use crate::support::{Served, deploy, ms, policies};

/// Policies whose hold waits for a time, and then for as long for the director.
fn waits(ttl: &str) -> String {
    format!(
        r#"
        permit (principal, action, resource);
        @decision("hold") @approvers("role:sre") @approval_ttl("{ttl}")
        @escalate_to("role:director")
        forbid (principal, action, resource);
        "#
    )
}

/// Waits until the store of `acme` has the expiry of a decision. Nothing is asked of the server.
async fn expires<S: Store + Organizations<Store = S>>(medium: &S, within: Duration) -> bool {
    let acme = medium.organization(&id("acme"));
    let filter = EventFilter::default().types(["approval.expired"]);
    let start = std::time::Instant::now();
    while start.elapsed() < within {
        if !acme.events(0, 9, &filter).await.unwrap().is_empty() {
            return true;
        }
        tokio::time::sleep(ms(50)).await;
    }
    false
}

async fn hold(served: &Served) {
    let answer = served.caller(ACME).evaluate(&deploy()).await.json();
    assert_eq!(answer["decision"], "hold", "{answer}");
}

#[tokio::test]
async fn a_decision_of_an_organization_that_left_the_memory_is_escalated_and_expires() {
    let folder = Folder::new();
    folder.write_policies("acme", &waits("4s"));
    let medium = MemoryStore::new();
    let served = folder
        .serve_on(medium.clone(), |hosting| hosting.idle(ms(0)))
        .await;
    hold(&served).await;
    let acme = medium.organization(&id("acme"));
    assert!(expires(&medium, Duration::from_secs(30)).await);
    let all = acme.events(0, 99, &EventFilter::default()).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|event| event.to_event().unwrap()).collect();
    let kinds: Vec<_> = kinds.iter().map(|event| &*event.envelope.kind).collect();
    let asked = kinds.iter().filter(|kind| **kind == "approval.requested");
    assert_eq!(asked.count(), 2, "the director was asked: {kinds:?}");
}

async fn ends_after_a_restart<S>(medium: S, again: S)
where
    S: Store + RateCounter + Organizations<Store = S>,
{
    let folder = Folder::new();
    folder.write_policies("acme", &waits("1s"));
    let served = folder.serve_on(medium, |hosting| hosting).await;
    hold(&served).await;
    served.stop().await.unwrap().unwrap();
    assert!(
        !expires(&again, ms(2_500)).await,
        "both times are over, and no server runs"
    );
    let local = again.organization(&id("local"));
    let _served = folder.serve_on(local, |hosting| hosting).await;
    assert!(expires(&again, Duration::from_secs(20)).await);
}

#[tokio::test]
async fn a_decision_expires_after_a_restart_although_nothing_is_asked() {
    let medium = MemoryStore::new();
    ends_after_a_restart(medium.clone(), medium).await;
    let disk = tempfile::tempdir().unwrap();
    let medium = RedbStore::open(disk.path().join("store")).unwrap();
    let again = medium.organization(&id("local"));
    ends_after_a_restart(medium, again).await;
}

#[tokio::test]
async fn policies_that_cannot_be_loaded_end_no_decision() {
    let folder = Folder::new();
    folder.write_policies("acme", &waits("1s"));
    let medium = MemoryStore::new();
    let served = folder.serve_on(medium.clone(), |hosting| hosting).await;
    hold(&served).await;
    served.stop().await.unwrap().unwrap();
    folder.write_policies("acme", "permit (");
    let served = folder.serve_on(medium.clone(), |hosting| hosting).await;
    assert!(!expires(&medium, ms(4_000)).await);
    folder.write_policies("acme", &waits("1s"));
    assert!(expires(&medium, Duration::from_secs(30)).await);
    drop(served);
}

#[tokio::test]
async fn decisions_of_a_suspended_organization_are_neither_escalated_nor_ended() {
    let folder = Folder::new();
    folder.write_policies("acme", &waits("3s"));
    let medium = MemoryStore::new();
    let served = folder.serve_on(medium.clone(), |hosting| hosting).await;
    hold(&served).await;
    folder.change("acme", |acme| {
        acme.suspended = Some(Suspension::new("unpaid"));
    });
    let caller = served.caller(ACME);
    caller.until(|answer| answer.status == 403).await;
    assert!(
        !expires(&medium, ms(8_000)).await,
        "both times are over, and the organization is in memory"
    );
    let acme = medium.organization(&id("acme"));
    let asked = EventFilter::default().types(["approval.requested"]);
    assert_eq!(acme.count_events(&asked).await.unwrap(), 1);
    folder.change("acme", |acme| acme.suspended = None);
    assert!(expires(&medium, Duration::from_secs(20)).await);
}

/// Opens a decision of an organization, without a server.
async fn open(medium: &MemoryStore, org: &str) {
    assert!(medium.create_organization(&id(org)).await.unwrap());
    let policies = Policies::parse(&waits("1s")).unwrap();
    let authority = LocalAuthority::builder(policies).org_id(org);
    let authority = authority.store(medium.organization(&id(org))).build();
    let authority = authority.await.unwrap();
    let action = AnyAction::new("deploy").unwrap();
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    let held = authority.evaluate(&request).await.unwrap();
    assert!(held.escalation_id.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn organizations_whose_load_hangs_hold_up_the_decisions_of_no_other() {
    let (folder, medium) = (Folder::new(), MemoryStore::new());
    folder.write_policies("acme", &waits("1s"));
    for org in ["hung-1", "hung-2", "hung-3", "hung-4"] {
        let organization = Organization::new(id(org));
        assert!(folder.registry().create(organization).unwrap());
        open(&medium, org).await;
    }
    // It is due last.
    open(&medium, "acme").await;
    let registry = OrgRegistry::default().with_file(folder.registry()).await;
    let base = folder.path().to_owned();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let hosting = OrgHosting::new(registry.unwrap(), move |id| {
        if id.as_str().starts_with("hung-") {
            // Ends when the other end is dropped.
            let _ = released.lock().unwrap().recv();
        }
        base.join(id.as_str())
    });
    let authority = LocalAuthority::builder(policies()).store(medium.clone());
    let authority = authority.build().await.unwrap();
    let server = Server::new(authority, keys(), KeyRing::in_memory().unwrap());
    let served = Served::run(server.organizations(hosting)).await;
    assert!(expires(&medium, Duration::from_secs(30)).await);
    drop(release);
    drop(served);
}
