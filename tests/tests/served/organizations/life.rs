//! An organization from its registration to its suspension.

use std::sync::{Mutex, mpsc};

use atlasent_authority::LocalAuthority;
use atlasent_authority::organizations::{Organization, Suspension};
use atlasent_authority::server::{ApiKeys, OrgHosting, OrgRegistry, Server};
use atlasent_authority::signing::KeyRing;
use serde_json::json;

use super::support::{ACME, Folder, GLOBEX, id, key_of, keys};
use crate::support::{KEY, Served, deploy, memory, ms, policies, stored};

#[tokio::test]
async fn each_key_reaches_the_organization_that_it_belongs_to() {
    let folder = Folder::new();
    folder.write_policies("globex", "forbid (principal, action, resource);");
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let token = acme.token().await;
    assert_eq!(globex.evaluate(&deploy()).await.json()["decision"], "deny");
    assert_eq!(acme.verify(&token).await.json()["valid"], true);
    for (caller, org) in [
        (acme, "acme"),
        (globex, "globex"),
        (served.caller(KEY), "local"),
    ] {
        let this = caller.get("/v1-api-key-self").await.json();
        assert_eq!(
            (&this["org_id"], &this["organization_id"]),
            (&json!(org), &json!(org))
        );
        let events = caller.get("/v1-audit/events").await.json();
        for event in events["events"].as_array().unwrap() {
            assert_eq!(event["org_id"], org);
        }
    }
    let decided = ["policy.loaded", "evaluate.allow", "permit.verified"];
    assert_eq!(acme.events().await, decided);
    assert_eq!(globex.events().await, ["policy.loaded", "evaluate.deny"]);
    assert_eq!(served.caller(KEY).events().await, ["policy.loaded"]);
}

#[tokio::test]
async fn an_unknown_organization_has_no_access() {
    let folder = Folder::new();
    let served = folder.serve().await;
    // Registered later than its key.
    let late = "ask_test_late-0123456789";
    let keys = ApiKeys::new([key_of("late", late), stored(KEY)]);
    let ring = || KeyRing::in_memory().unwrap();
    let server = Server::new(memory(), keys, ring()).organizations(folder.hosting().await);
    let served_late = Served::run(server).await;
    let caller = served_late.caller(late);
    let answer = caller.evaluate(&deploy()).await;
    answer.is_problem(403, "UNKNOWN_ORGANIZATION");
    folder.write_policies("late", crate::support::POLICIES);
    folder
        .registry()
        .create(Organization::new(id("late")))
        .unwrap();
    caller.until(|answer| answer.status == 200).await;

    // A server that hosts `local` alone.
    let keys = ApiKeys::new([key_of("acme", ACME)]);
    let alone = Served::run(Server::new(memory(), keys, ring())).await;
    for target in [
        "/v1-api-key-self",
        "/v1-audit/events",
        "/v1/permits",
        "/v1/stops",
    ] {
        let answer = alone.caller(ACME).get(target).await;
        answer.is_problem(403, "UNKNOWN_ORGANIZATION");
    }
    drop(served);
}

#[tokio::test]
async fn an_organization_cannot_have_the_name_of_the_chain_of_local() {
    let folder = Folder::new();
    let authority = LocalAuthority::builder(policies()).org_id("acme").build();
    let server = Server::new(
        authority.await.unwrap(),
        keys(),
        KeyRing::in_memory().unwrap(),
    );
    let served = Served::run(server.organizations(folder.hosting().await)).await;
    let refused = served.caller(ACME).evaluate(&deploy()).await;
    refused.is_problem(503, "STORE_UNAVAILABLE");
    served.caller(GLOBEX).token().await;
    assert_eq!(served.caller(KEY).events().await, ["policy.loaded"]);
}

#[tokio::test]
async fn a_suspended_organization_has_no_access_until_it_is_resumed() {
    let folder = Folder::new();
    let served = folder.serve().await;
    let (acme, globex) = (served.caller(ACME), served.caller(GLOBEX));
    let token = acme.token().await;
    folder.change("acme", |acme| {
        acme.suspended = Some(Suspension::new("unpaid"));
    });
    let refused = acme.until(|answer| answer.status == 403).await;
    refused.is_problem(403, "ORGANIZATION_SUSPENDED");
    assert!(!refused.text.contains("unpaid"), "{}", refused.text);
    acme.verify(&token)
        .await
        .is_problem(403, "ORGANIZATION_SUSPENDED");
    for target in [
        "/v1-api-key-self",
        "/v1-audit/events",
        "/v1-signing-keys",
        "/v1/stops",
    ] {
        acme.get(target)
            .await
            .is_problem(403, "ORGANIZATION_SUSPENDED");
    }
    globex.token().await;
    folder.change("acme", |acme| acme.suspended = None);
    acme.until(|answer| answer.status == 200).await;
    assert_eq!(acme.verify(&token).await.json()["valid"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_that_waits_for_policies_is_refused_after_a_suspension() {
    let folder = Folder::new();
    let registry = OrgRegistry::default().with_file(folder.registry()).await;
    let base = folder.path().to_owned();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let hosting = OrgHosting::new(registry.unwrap(), move |id| {
        // Ends when the other end is dropped.
        let _ = released.lock().unwrap().recv();
        base.join(id.as_str())
    });
    let server = Server::new(memory(), keys(), KeyRing::in_memory().unwrap());
    let served = Served::run(server.organizations(hosting)).await;
    let acme = served.caller(ACME);
    let body = deploy();
    let suspending = async {
        tokio::time::sleep(ms(500)).await;
        folder.change("acme", |acme| {
            acme.suspended = Some(Suspension::new("unpaid"));
        });
        // The server learns of it within a second.
        tokio::time::sleep(ms(1_500)).await;
        drop(release);
    };
    let (answer, ()) = tokio::join!(acme.evaluate(&body), suspending);
    answer.is_problem(403, "ORGANIZATION_SUSPENDED");
}

#[tokio::test]
async fn a_registry_without_the_organization_any_more_ends_its_access() {
    let folder = Folder::new();
    let served = folder.serve().await;
    let acme = served.caller(ACME);
    acme.token().await;
    std::fs::write(folder.registry().path(), "[]").unwrap();
    let refused = acme.until(|answer| answer.status == 403).await;
    refused.is_problem(403, "UNKNOWN_ORGANIZATION");
    // A file that cannot be read leaves the registry as it is.
    std::fs::write(folder.registry().path(), "[{").unwrap();
    tokio::time::sleep(ms(1_200)).await;
    acme.evaluate(&deploy())
        .await
        .is_problem(403, "UNKNOWN_ORGANIZATION");
    assert_eq!(served.caller(KEY).evaluate(&deploy()).await.status, 200);
}

#[tokio::test]
async fn the_keys_of_an_organization_are_recorded_on_its_own_chain() {
    use atlasent_authority::keys::KeyFile;

    let folder = Folder::new();
    let file = KeyFile::new(folder.path().join("keys.json"));
    for key in [stored(KEY), key_of("acme", ACME), key_of("globex", GLOBEX)] {
        file.add(key).unwrap();
    }
    let keys = ApiKeys::default().with_file(file.clone()).await.unwrap();
    let registry = OrgRegistry::default()
        .with_file(folder.registry())
        .await
        .unwrap();
    let base = folder.path().to_owned();
    let hosting = OrgHosting::new(registry, move |id| base.join(id.as_str()));
    let server = Server::new(memory(), keys, KeyRing::in_memory().unwrap()).organizations(hosting);
    let served = Served::run(server).await;
    assert!(file.revoke(&key_of("globex", GLOBEX).key_id).unwrap());
    let globex = served.caller(GLOBEX);
    let refused = globex.until(|answer| answer.status == 401).await;
    refused.is_problem(401, "INVALID_API_KEY");
    let chain_of = async |caller: super::support::Caller<'_>| {
        let page = caller
            .get("/v1-audit/events?types=key.created,key.revoked")
            .await
            .json();
        let events = page["events"].as_array().unwrap().iter();
        let keys = events.map(|event| {
            let kind = event["type"].as_str().unwrap().to_owned();
            (
                kind,
                event["payload"]["api_key_id"].as_str().unwrap().to_owned(),
            )
        });
        keys.collect::<Vec<_>>()
    };
    for (secret, org) in [(KEY, "local"), (ACME, "acme")] {
        let created = ("key.created".to_owned(), key_of(org, secret).key_id);
        let mut recorded = Vec::new();
        for _ in 0..200 {
            recorded = chain_of(served.caller(secret)).await;
            if !recorded.is_empty() {
                break;
            }
            tokio::time::sleep(ms(50)).await;
        }
        assert_eq!(recorded, [created], "{org}");
    }
}
