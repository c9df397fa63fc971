//! API keys in PostgreSQL: each change applies at once, whatever else the database does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, KeyEnvironment};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::Store;
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, PostgresStore};
use atlasent_tests::http::plain;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;

use crate::media::{Medium, Postgres};
use crate::support::permit_all;

fn new_key() -> (ApiKey, SecretString) {
    ApiKey::generate(KeyEnvironment::Test).unwrap()
}

async fn version(medium: &Postgres) -> i64 {
    let rows = medium.sql("SELECT version FROM atlasent_api_keys_version");
    rows.await[0].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_to_a_key_changes_the_version() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    let (key, _) = new_key();
    let mut last = version(&medium).await;
    let mut changed = async || {
        let before = std::mem::replace(&mut last, version(&medium).await);
        before != last
    };
    store.put_api_key(&key).await.unwrap();
    assert!(changed().await);
    assert_eq!(store.api_keys().await.unwrap(), std::slice::from_ref(&key));
    assert!(!changed().await);
    assert!(store.revoke_api_key(&key.key_id).await.unwrap());
    assert!(changed().await);
    // A change that bypasses the store applies as well.
    medium.sql("DELETE FROM atlasent_api_keys").await;
    assert!(changed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_does_not_move_to_another_organization() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    for [first, second] in [["local", "acme"], ["acme", "local"], ["acme", "globex"]] {
        let (mut key, _) = new_key();
        key.org_id = first.parse().unwrap();
        key.approver = Some(Approver::new("alice", ["cto"]).unwrap());
        store.put_api_key(&key).await.unwrap();
        // The same key again replaces the record.
        key.name = Some("renamed".to_owned());
        store.put_api_key(&key).await.unwrap();
        let mut moved = key.clone();
        moved.org_id = second.parse().unwrap();
        let error = store.put_api_key(&moved).await.unwrap_err().to_string();
        assert!(error.contains("belongs to another organization"), "{error}");
        assert!(store.api_keys().await.unwrap().contains(&key));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_revoke_a_key_one_does() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let stores = [medium.open().await, medium.open().await];
    let (key, _) = new_key();
    stores[0].put_api_key(&key).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let (store, id) = (stores[n % 2].clone(), key.key_id.clone());
        tasks.spawn(async move { store.revoke_api_key(&id).await.unwrap() });
    }
    let revoked = tasks.join_all().await;
    assert_eq!(revoked.into_iter().filter(|revoked| *revoked).count(), 1);
    assert!(stores[1].api_keys().await.unwrap()[0].revoked_at.is_some());
    assert!(!stores[1].revoke_api_key("key_unknown").await.unwrap());
}

/// Starts a server on the database. Returns it with its address.
async fn serve(store: PostgresStore) -> String {
    let book = ApiKeys::default().with_database(store.clone());
    let authority = LocalAuthority::builder(permit_all()).store(store).build();
    let (book, authority) = (book.await.unwrap(), authority.await.unwrap());
    let server = Server::new(authority, book, KeyRing::in_memory().unwrap());
    let listening = server.listen("127.0.0.1:0".parse().unwrap(), None);
    let listening = listening.await.unwrap();
    let address = listening.address();
    tokio::spawn(listening.run_until(std::future::pending()));
    format!("http://{address}/v1-signing-keys")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_while_many_read_the_audit_trail() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    let (key, secret) = new_key();
    store.put_api_key(&key).await.unwrap();
    let url = serve(store.clone()).await;
    medium
        .sql(
            "INSERT INTO atlasent_events SELECT g, 'evaluate.allow', 'bot', '2026', 'x', 'x', \
             '{\"id\":\"' || repeat('x', 400) || '\"}', 'local' FROM generate_series(1000, 51000) g",
        )
        .await;
    let mut readers = JoinSet::new();
    let filter = Arc::new(EventFilter::default().actor_id("bot"));
    for _ in 0..64 {
        let (store, filter) = (store.clone(), Arc::clone(&filter));
        readers.spawn(async move {
            loop {
                let _ = store.events(0, 20_000, &filter).await;
            }
        });
    }
    let http = plain().build().unwrap();
    let status = async || {
        let request = http.get(&url).bearer_auth(secret.expose_secret());
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status().await, 200);
    // The readers have started.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let started = Instant::now();
    // The command line runs in another process.
    assert!(
        medium
            .open()
            .await
            .revoke_api_key(&key.key_id)
            .await
            .unwrap()
    );
    let revoked = Instant::now();
    while status().await != 401 {
        assert!(started.elapsed() < Duration::from_secs(20), "still taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "revoking took {:?}; refused {:?} after it",
        revoked - started,
        revoked.elapsed()
    );
    readers.shutdown().await;
}
